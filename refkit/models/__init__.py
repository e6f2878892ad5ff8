"""Which backbone, which heads, nothing else."""

from refkit import backbones, heads
from refkit.models.base import ReferringModel
from refkit.models.clip_pretrain import CLIPPretrain
from refkit.models.hivg import HiVG

__all__ = ["CLIPPretrain", "HiVG", "ReferringModel", "backbones", "heads"]
