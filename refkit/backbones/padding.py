"""From a mask of padded pixels to a mask of tokens."""

from __future__ import annotations

from collections.abc import Mapping

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


def image_tokens(inputs: Mapping[str, Tensor], tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """`visual_token_mask` ``(B, N)`` of a batch; all True where the inputs name no padding.

    Args:
        inputs: of a model; ``padding`` and ``image_index`` are looked at.
        tokens: ``(B, …)``, for the number of samples and the device.
        grid: rows and columns of patches.
    """
    if (padding := inputs.get("padding")) is None:
        return torch.ones(len(tokens), grid[0] * grid[1], dtype=torch.bool, device=tokens.device)
    mask = visual_token_mask(padding, grid)
    return mask if (index := inputs.get("image_index")) is None else mask[index]
