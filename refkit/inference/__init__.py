"""Load a model, ask it, draw its answers, measure its speed."""
