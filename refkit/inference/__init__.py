"""Load a model, predict, draw."""
