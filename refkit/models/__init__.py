"""Which backbone, which heads, nothing else."""

import refkit.backbones
import refkit.heads
from refkit.models.base import ReferringModel
from refkit.models.hivg import HiVG

__all__ = ["HiVG", "ReferringModel"]
