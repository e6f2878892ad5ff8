"""Records, the sources that fill them, the data sets and transforms that feed a model."""
