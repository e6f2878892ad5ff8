"""Towers and what joins them: images and words in, `Features` out."""
