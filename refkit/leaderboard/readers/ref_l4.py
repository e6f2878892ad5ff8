"""Ref-L4: a list of ``{id, pred_bbox, format}``; each row says whether its box is ``xyxy`` or ``xywh``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from refkit.data.validation import describe
from refkit.leaderboard.readers.answers import Answer, AnswerError, boxes_of, json_rows, key_of


def read(path: Path) -> Iterator[Answer]:
    """Answers with all boxes as xyxy of the declared space.

    Raises:
        AnswerError: a row without box or with another format.
    """
    for place, row in json_rows(path):
        if "pred_bbox" not in row:
            raise AnswerError(f"{place}: no 'pred_bbox'")
        boxes = boxes_of(row["pred_bbox"], f"{place}: pred_bbox")
        kind = row.get("format", "xyxy")
        if kind not in ("xyxy", "xywh"):
            raise AnswerError(f"{place}: format: found {describe(kind)}, expected 'xyxy' or 'xywh'")
        if kind == "xywh":
            boxes = np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)
        yield Answer(key_of(row, place), place, boxes)
