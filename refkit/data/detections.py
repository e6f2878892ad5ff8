"""Boxes of any detector, in COCO's results format, for dense captioning without given boxes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


class DetectionError(ValueError):
    """A file of detections that cannot be used; names file, entry and remedy."""


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes of one picture, best first.

    Attributes:
        boxes: ``(n, 4)`` float64 xyxy pixels.
        scores: ``(n,)`` float64.
    """

    boxes: np.ndarray
    scores: np.ndarray

    def best(self, least: float = 0.0, most: int | None = None) -> Detections:
        """Those with a score of at least ``least``, ``most`` at most."""
        kept = slice(0, int((self.scores >= least).sum()))
        return Detections(self.boxes[kept][:most], self.scores[kept][:most])


def read_detections(path: str | Path) -> dict[int | str, Detections]:
    """Detections by ``image_id``.

    Args:
        path: a JSON list of ``{"image_id", "bbox": [x, y, width, height], "score"}``.

    Raises:
        DetectionError: the file is missing or no such list, or an entry has no usable box or score.
    """
    path = Path(path)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DetectionError(f"{path}: not a JSON file of detections: {error}") from error
    if not isinstance(entries, list):
        raise DetectionError(f"{path}: expected a list of detections, found {type(entries).__name__}")
    rows: dict[int | str, list[list[float]]] = defaultdict(list)
    for place, entry in enumerate(entries):
        try:
            picture, row = _read_one(entry)
        except (KeyError, TypeError, ValueError) as error:
            raise DetectionError(
                f"{path}: entry {place}: {error}; expected image_id, bbox [x, y, width, height] and score"
            ) from error
        rows[picture].append(row)
    return {picture: _ranked(np.array(found)) for picture, found in rows.items()}


def _read_one(entry: Mapping[str, Any]) -> tuple[int | str, list[float]]:
    """The picture, and xyxy with the score.

    Raises:
        ValueError: a value that makes no box or score.
    """
    picture = entry["image_id"]
    if isinstance(picture, bool) or not isinstance(picture, int | str):
        raise ValueError(f"image_id is {picture!r}")
    x, y, width, height = (float(value) for value in entry["bbox"])
    row = [x, y, x + width, y + height, float(entry["score"])]
    if not np.isfinite(row).all() or width <= 0 or height <= 0:
        raise ValueError(f"bbox {entry['bbox']}, score {entry['score']} are not finite, or without area")
    return picture, row


def _ranked(rows: np.ndarray) -> Detections:
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    return Detections(rows[:, :4], rows[:, 4])
