"""One module per public data set: reads what its owners publish, yields records."""
