"""Mask branch of HiVG: every patch after fusion becomes 8 x 8 pixels of a mask.

Official code ``models/HiVG.py`` (``seg_conv1`` … ``seg_conv3``); the paper does not mention it. Three
transposed convolutions without bias and without anything between them, then the product with the sentence:
all of it is linear, so it is computed from the sentence's side, where it costs a hundredth (0.03 instead of
4.3 billion multiply-adds per sample of HiVG-B) and gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from refkit.heads.region_text import box_map
from refkit.losses.masks import dice, focal
from refkit.registry import MODELS
from refkit.rle import encode
from refkit.structures import Features, Frame, Prediction, ReferringSample


@MODELS.register_module()
class MaskHead(nn.Module):
    """Mask logits at eight times the patch grid.

    Args:
        width: channels of the tokens.
        target: ``box``: trained on the filled target boxes, as all released HiVG models were; it then answers
            nothing, it is one more box loss. ``mask``: trained on the true masks of the samples that have
            one, and answers with a mask (HiVG's ``--use_seg_mask``).
        focal_weight, dice_weight: coefficients of the two losses; 20 and 2 in HiVG.
    """

    needs = ("visual", "query")

    def __init__(
        self,
        *,
        width: int,
        target: Literal["box", "mask"] = "box",
        focal_weight: float = 20.0,
        dice_weight: float = 2.0,
    ) -> None:
        super().__init__()
        if target not in ("box", "mask"):
            raise ValueError(f"target={target!r}; expected 'box' or 'mask'")
        self.target = target
        self.focal_weight = focal_weight
        self.dice_weight = dice_weight
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(width, width, kernel_size=2, stride=2, bias=False) for _ in range(3)
        )

    @property
    def answers(self) -> bool:
        """Whether its masks are predictions."""
        return self.target == "mask"

    def forward(self, features: Features) -> Tensor:
        """Mask logits ``(B, 1, 8 rows, 8 columns)`` float32 of the canvas."""
        if features.query is None:
            raise ValueError("the mask head needs features.query; put a grounding encoder before it")
        pixels = F.normalize(features.query.float(), dim=-1).to(features.visual.dtype)[..., None]
        layers: list[Any] = list(self.convolutions)
        for layer in reversed(layers):
            weight = layer.weight.flatten(2).to(pixels.dtype)
            pixels = torch.einsum("ioq,bor->biqr", weight, pixels).flatten(2)
        logits = features.visual @ pixels
        return rearrange(
            logits.float(),
            "b (i j) (y1 x1 y2 x2 y3 x3) -> b 1 (i y1 y2 y3) (j x1 x2 x3)",
            i=features.grid[0],
            **dict.fromkeys(("y1", "x1", "y2", "x2", "y3", "x3"), 2),
        )

    def tensors(self, features: Features) -> dict[str, Tensor]:
        """``seg_logits (B, 1, 8 rows, 8 columns)``."""
        return {"seg_logits": self(features)}

    def loss(self, features: Features, data_samples: Sequence[ReferringSample]) -> dict[str, Tensor]:
        """``loss_seg_focal`` and ``loss_seg_dice`` over the samples with a target, coefficients included."""
        logits = self(features)
        masks = [self._target_mask(sample) for sample in data_samples]
        chosen = [index for index, mask in enumerate(masks) if mask is not None]
        if not chosen:
            return {"loss_seg_focal": logits.sum() * 0, "loss_seg_dice": logits.sum() * 0}
        target = torch.from_numpy(np.stack([mask for mask in masks if mask is not None]))
        return self.losses(logits[chosen], target[:, None].to(logits.device))

    def losses(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Both losses of logits ``(B, 1, h, w)``, resized to the masks ``(B, 1, H, W)``, 0 or 1."""
        resized = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)
        return {
            "loss_seg_focal": self.focal_weight * focal(resized, target),
            "loss_seg_dice": self.dice_weight * dice(resized, target),
        }

    def predict(self, features: Features, data_samples: Sequence[ReferringSample]) -> list[Prediction]:
        """One mask per sample at the resolution of its original image: probability above one half."""
        logits = self(features)
        return [
            Prediction(id=sample.id, mask=encode((to_original_pixels(one, sample.frame) > 0).cpu().numpy()))
            for sample, one in zip(data_samples, logits, strict=True)
        ]

    def _target_mask(self, sample: ReferringSample) -> np.ndarray | None:
        """``(H, W)`` float32 on the canvas, 0 or 1, targets united; None where the sample has no mask.

        A pixel belongs to a box that its centre lies in. The released code rasterises boxes in the original
        picture and resizes the result; borders may differ by a pixel of the canvas.
        """
        width, height = sample.frame.canvas
        if self.target == "box":
            return box_map([sample], (height, width), offset=0.5).reshape(height, width)
        return None if sample.masks is None else np.asarray(sample.masks, np.float32).max(axis=0, initial=0)


def to_original_pixels(logits: Tensor, frame: Frame) -> Tensor:
    """A map ``(1, h, w)`` over the canvas, bilinear, at the pixels of the original image: ``(H, W)``."""
    places = []
    for axis in (0, 1):
        centres = torch.arange(frame.original[axis], device=logits.device) + 0.5
        on_canvas = centres * frame.scale[axis] + frame.shift[axis]
        places.append(2 * on_canvas / frame.canvas[axis] - 1)
    columns, rows = torch.meshgrid(*places, indexing="xy")
    grid = torch.stack((columns, rows), dim=-1)[None].to(logits.dtype)
    return F.grid_sample(logits[None], grid, mode="bilinear", padding_mode="border", align_corners=False)[
        0, 0
    ]
