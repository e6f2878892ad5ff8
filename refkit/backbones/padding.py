"""From a mask of padded pixels to a mask of tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms


def visual_token_mask(padding: Tensor, grid: tuple[int, int]) -> Tensor:
    """Which patches show the image, ``(B, H * W)`` bool, from ``padding (B, H_px, W_px)``, True = padded
    pixel.

    HiVG resizes the integer mask with torchvision's default ``Resize``: bilinear with antialias in float,
    rounded half to even, so a patch is padding when its triangular-kernel average exceeds one half. Ties are
    decided by float rounding, hence the same operator here (``models/HiVG.py``, forward).
    """
    reduced = transforms.resize(padding.to(torch.int32), list(grid), antialias=True)
    return reduced.flatten(1) == 0
