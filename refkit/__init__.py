"""refkit: one toolkit for referring, language to region and region to language."""

from refkit.version import __version__

__all__ = ["__version__"]
