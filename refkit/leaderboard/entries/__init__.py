"""Entries of the leaderboard: their schema, their files, where they come from and how they are checked."""
