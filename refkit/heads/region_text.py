"""Region-text constraint (RTCC): every patch says whether it belongs to what the sentence means.

HiVG, section 3.4; official code ``models/HiVG.py`` (``visu_token_mlp``). It answers nothing by itself: it
teaches the encoder where the target is, patch by patch, beside a head that answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refkit.losses.masks import dice, focal
from refkit.registry import MODELS
from refkit.structures import Features, ReferringSample

_OFFSETS = {"corner": 0.0, "centre": 0.5}


def box_map(samples: Sequence[ReferringSample], grid: tuple[int, int], offset: float) -> np.ndarray:
    """Which patches lie in the target boxes: ``(B, rows * columns)`` float32, 0 or 1, row-major.

    Args:
        samples: with boxes in canvas pixels; several boxes are united.
        grid: rows and columns of patches.
        offset: the point of a patch that decides, as a fraction of its side (0 = upper left, 0.5 = centre).
    """
    maps = np.zeros((len(samples), *grid), np.float32)
    for index, sample in enumerate(samples):
        width, height = sample.frame.canvas
        x = (np.arange(grid[1]) + offset) * width / grid[1]
        y = (np.arange(grid[0]) + offset) * height / grid[0]
        for left, top, right, bottom in np.asarray(sample.boxes, np.float64):
            inside = ((y >= top) & (y < bottom))[:, None] & ((x >= left) & (x < right))[None]
            maps[index][inside] = 1.0
    return maps.reshape(len(samples), -1)


@MODELS.register_module()
class RegionTextHead(nn.Module):
    """Similarity of the sentence with every patch after fusion, ``s_n = e . z_n``.

    ``e`` is the normalised query; ``z_n = mlp(norm(patch_n))`` is not normalised; there is no temperature.

    Args:
        width: channels of the tokens.
        hidden: channels inside the perceptron; six times the width unless given (HiVG-B: 3072 of 512).
        decided_at: point of a patch that decides whether the patch is in the box: its ``corner`` (released
            code: nearest-neighbour down-sampling of the box mask) or its ``centre``.
        focal_weight: coefficient of the focal loss; 20 in HiVG.
        dice_weight: coefficient of the dice loss; 2 in HiVG.
    """

    needs = ("visual", "query")
    answers = False

    def __init__(
        self,
        *,
        width: int,
        hidden: int | None = None,
        decided_at: Literal["corner", "centre"] = "corner",
        focal_weight: float = 20.0,
        dice_weight: float = 2.0,
    ) -> None:
        super().__init__()
        if decided_at not in _OFFSETS:
            raise ValueError(f"decided_at={decided_at!r}; expected one of {', '.join(_OFFSETS)}")
        self.offset = _OFFSETS[decided_at]
        self.focal_weight = focal_weight
        self.dice_weight = dice_weight
        self.norm = nn.LayerNorm(width)
        self.into = nn.Linear(width, hidden or 6 * width)
        self.out = nn.Linear(hidden or 6 * width, width)

    def forward(self, features: Features) -> Tensor:
        """Similarity ``(B, N)`` float32 before the sigmoid."""
        if features.query is None:
            raise ValueError("the region-text head needs features.query; put a grounding encoder before it")
        inner = self.into(self.norm(features.visual))
        patches = self.out(inner * torch.sigmoid(1.702 * inner))
        query = F.normalize(features.query.float(), dim=-1)
        return torch.einsum("bc,bnc->bn", query, patches.float())

    def tensors(self, features: Features) -> dict[str, Tensor]:
        """``rtcc_logits (B, N)``."""
        return {"rtcc_logits": self(features)}

    def loss(self, features: Features, data_samples: Sequence[ReferringSample]) -> dict[str, Tensor]:
        """``loss_rtcc_focal`` and ``loss_rtcc_dice``, coefficients included; padding counts as negative."""
        logits = self(features)
        target = torch.from_numpy(box_map(data_samples, features.grid, self.offset)).to(logits.device)
        return {
            "loss_rtcc_focal": self.focal_weight * focal(logits, target),
            "loss_rtcc_dice": self.dice_weight * dice(logits, target),
        }
