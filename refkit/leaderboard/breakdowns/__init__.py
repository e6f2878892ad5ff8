"""Scores broken down: groups of samples by text, target and scene, kinds of errors, calibration."""
