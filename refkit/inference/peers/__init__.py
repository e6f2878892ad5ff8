"""What the methods of other libraries share: weights, settings, and a place in ``refkit predict``."""
