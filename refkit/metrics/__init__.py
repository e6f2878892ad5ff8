"""One module per protocol: pure functions on numpy arrays and records. Never imports torch."""
