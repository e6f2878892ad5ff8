"""Readers of foreign prediction files, one format each; `convert` writes `refkit.predictions/1`."""
