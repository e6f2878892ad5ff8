"""Task heads: `Features` in, losses and predictions out. A head never imports a backbone."""

from refkit.heads.box import BoxHead
from refkit.heads.region_text import RegionTextHead

__all__ = ["BoxHead", "RegionTextHead"]
