"""Boards: which numbers may stand beside each other, in which order, and as CSV, JSON, Markdown and LaTeX."""
