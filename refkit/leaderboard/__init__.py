"""Prediction files and their scoring. Never imports torch."""
