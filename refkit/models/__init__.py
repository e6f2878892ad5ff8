"""Which backbone, which heads, nothing else."""

from refkit import backbones, heads
from refkit.models.base import ReferringModel
from refkit.models.contrast_pretrain import BEiT3Pretrain, CLIPPretrain
from refkit.models.dynrefer import DynRefer
from refkit.models.headed import HeadedModel
from refkit.models.hivg import HiVG
from refkit.models.mrefm import MRefM
from refkit.models.oneref import OneRef
from refkit.models.vqkd_pretrain import VQKDPretrain

__all__ = [
    "BEiT3Pretrain",
    "CLIPPretrain",
    "DynRefer",
    "HeadedModel",
    "HiVG",
    "MRefM",
    "OneRef",
    "ReferringModel",
    "VQKDPretrain",
    "backbones",
    "heads",
]
