"""One box from one token, and the only two functions that lead boxes into and out of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import box_convert

from refkit.losses import boxes as box_losses
from refkit.registry import MODELS
from refkit.structures import Features, Prediction, ReferringSample

_REGRESSION = {"l1": box_losses.l1, "smooth_l1": box_losses.smooth_l1}


def to_canvas_units(samples: Sequence[ReferringSample], device: torch.device | None = None) -> Tensor:
    """The one target box of every sample, ``(B, 4)`` float32 ``cxcywh`` relative to its canvas.

    Raises:
        ValueError: a sample with no target or with several; one box cannot answer it.
    """
    for sample in samples:
        if len(sample.boxes) != 1:
            raise ValueError(
                f"sample {sample.id!r} has {len(sample.boxes)} targets, but the box head predicts one: "
                "filter such records, or merge their boxes, before training"
            )
    corners = torch.from_numpy(np.stack([np.asarray(sample.boxes[0], np.float32) for sample in samples]))
    sides = torch.tensor([sample.frame.canvas * 2 for sample in samples], dtype=torch.float32)
    return box_convert(corners / sides, "xyxy", "cxcywh").to(device)


def to_original_boxes(boxes: Tensor, samples: Sequence[ReferringSample]) -> list[np.ndarray]:
    """Boxes ``(B, 4)`` ``cxcywh`` relative to the canvas as ``B`` arrays ``(1, 4)`` float64 ``xyxy``.

    The result is in pixels of the original images and clipped to them.
    """
    corners = box_convert(boxes.detach().cpu().double(), "cxcywh", "xyxy").numpy()
    results = []
    for box, sample in zip(corners, samples, strict=True):
        original = sample.frame.to_original(box * np.asarray(sample.frame.canvas * 2, np.float64))
        results.append(np.clip(original, 0, np.asarray(sample.frame.original * 2, np.float64))[None])
    return results


@MODELS.register_module()
class BoxHead(nn.Module):
    """Three-layer perceptron on [REG], sigmoid at the end: ``cx, cy, w, h`` relative to the padded canvas.

    Args:
        width: channels of the token.
        regression: ``l1`` (HiVG's released code) or ``smooth_l1`` (its paper).
        box_weight: coefficient of the regression loss; 2 in HiVG.
        giou_weight: coefficient of the GIoU loss; 2 in HiVG.
    """

    needs: tuple[str, ...] = ("region_token",)
    answers = True

    def __init__(
        self,
        *,
        width: int,
        regression: Literal["l1", "smooth_l1"] = "l1",
        box_weight: float = 2.0,
        giou_weight: float = 2.0,
    ) -> None:
        super().__init__()
        if regression not in _REGRESSION:
            raise ValueError(f"regression={regression!r}; expected one of {', '.join(_REGRESSION)}")
        self.regression = regression
        self.box_weight = box_weight
        self.giou_weight = giou_weight
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4)
        )

    def forward(self, features: Features) -> Tensor:
        """Box ``(B, 4)`` before the sigmoid, float32."""
        return self.layers(self.token(features)).float()

    def token(self, features: Features) -> Tensor:
        """What the box is regressed from, ``(B, C)``."""
        if features.region_token is None:
            raise ValueError("the box head needs features.region_token; put a grounding encoder before it")
        return features.region_token

    def tensors(self, features: Features) -> dict[str, Tensor]:
        """``box_logits (B, 4)`` and ``pred_boxes (B, 4)``, ``cxcywh`` relative to the canvas."""
        logits = self(features)
        return {"box_logits": logits, "pred_boxes": logits.sigmoid()}

    def loss(self, features: Features, data_samples: Sequence[ReferringSample]) -> dict[str, Tensor]:
        """``loss_bbox`` and ``loss_giou``, coefficients included."""
        pred = self(features).sigmoid()
        target = to_canvas_units(data_samples, pred.device)
        corners = (box_convert(boxes, "cxcywh", "xyxy") for boxes in (pred, target))
        return {
            "loss_bbox": self.box_weight * _REGRESSION[self.regression](pred, target),
            "loss_giou": self.giou_weight * box_losses.giou(*corners),
        }

    def predict(self, features: Features, data_samples: Sequence[ReferringSample]) -> list[Prediction]:
        """One box per sample in pixels of its original image."""
        boxes = to_original_boxes(self(features).sigmoid(), data_samples)
        return [Prediction(id=sample.id, boxes=box) for sample, box in zip(data_samples, boxes, strict=True)]
