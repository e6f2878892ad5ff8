"""Mask branch of HiVG: every patch after fusion becomes 8 x 8 pixels of a mask.

Official code ``models/HiVG.py`` (``seg_conv1`` … ``seg_conv3``); the paper does not mention it. Three
transposed convolutions without bias and without anything between them, then the product with the sentence:
all of it is linear, so it is computed from the sentence's side, where it costs a hundredth (0.03 instead of
4.3 billion multiply-adds per sample of HiVG-B) and gives the same numbers.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refkit.heads.mask_branch import MaskBranch, cells_to_map
from refkit.registry import MODELS
from refkit.structures import Features

_STEPS = 3


@MODELS.register_module()
class MaskHead(MaskBranch):
    """Mask logits at eight times the patch grid.

    Args:
        width: channels of the tokens.
        target: ``box`` (all released HiVG models) or ``mask`` (HiVG's ``--use_seg_mask``), see `MaskBranch`.
        **settings: of `MaskBranch`: coefficients of the losses, mask rule, resolution.
    """

    needs = ("visual", "query")

    def __init__(self, *, width: int, target: Literal["box", "mask"] = "box", **settings: Any) -> None:
        super().__init__(target=target, **settings)
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(width, width, kernel_size=2, stride=2, bias=False) for _ in range(_STEPS)
        )

    def forward(self, features: Features) -> Tensor:
        """Mask logits ``(B, 1, 8 rows, 8 columns)`` float32 of the canvas."""
        if features.query is None:
            raise ValueError("the mask head needs features.query; put a grounding encoder before it")
        pixels = F.normalize(features.query.float(), dim=-1).to(features.visual.dtype)[..., None]
        layers: list[Any] = list(self.convolutions)
        for layer in reversed(layers):
            weight = layer.weight.flatten(2).to(pixels.dtype)
            pixels = torch.einsum("ioq,bor->biqr", weight, pixels).flatten(2)
        return cells_to_map((features.visual @ pixels).float(), features.grid, _STEPS)

    def tensors(self, features: Features) -> dict[str, Tensor]:
        """``seg_logits (B, 1, 8 rows, 8 columns)``."""
        return {"seg_logits": self(features)}
