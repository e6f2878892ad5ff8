"""What open-vocabulary detectors share: many scored boxes, of which the best are the answer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from refkit.inference.peers.method import Settings
from refkit.structures import Prediction


class DetectionSettings(Settings):
    """Which boxes of a detector make the answer.

    Attributes:
        boxes: the most that are kept, best first.
        threshold: boxes whose score is not above it are left out. At 0 every expression gets a box, as
            comprehension wants; a higher one lets the model say that nothing is meant.
    """

    boxes: int = Field(10, ge=1, le=1000)
    threshold: float = Field(0.0, ge=0.0, lt=1.0)


def best_rows(scores: Tensor, settings: DetectionSettings) -> Tensor:
    """Rows of ``scores`` ``(Q,)`` that are kept, best first; of equal scores the first goes before."""
    order = torch.sort(scores, descending=True, stable=True).indices[: settings.boxes]
    return order[scores[order] > settings.threshold]


def best_boxes(boxes: Tensor, scores: Tensor, settings: DetectionSettings) -> Prediction:
    """The answer from all boxes of one picture.

    Args:
        boxes: ``(Q, 4)`` xyxy in pixels of the picture.
        scores: ``(Q,)``.
        settings: which are kept.
    """
    rows = best_rows(scores, settings)
    return Prediction(
        "", boxes=boxes[rows].double().cpu().numpy(), scores=scores[rows].double().cpu().numpy()
    )


def to_pixels(boxes: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """``(B, Q, 4)`` xyxy in fractions of the picture, as pixels of pictures of ``(height, width)``."""
    scale = torch.tensor([(w, h, w, h) for h, w in sizes], dtype=torch.float64, device=boxes.device)
    return boxes.double() * scale[:, None]
