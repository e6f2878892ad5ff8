"""Task heads: `Features` in, losses and predictions out. A head never imports a backbone."""

from refkit.heads.box import BoxHead

__all__ = ["BoxHead"]
