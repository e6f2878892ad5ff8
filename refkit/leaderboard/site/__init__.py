"""The leaderboard as a static site: plain files, no network, readable without scripts."""
