"""Weights: find, verify, convert, load."""
