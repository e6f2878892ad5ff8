"""The version of refkit."""

__version__ = "0.1.0"
