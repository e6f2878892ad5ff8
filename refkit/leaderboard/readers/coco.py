"""COCO results: a list of ``{image_id, bbox or segmentation, score}``, several rows per question."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from refkit.data.validation import describe
from refkit.leaderboard.readers.answers import (
    Answer,
    AnswerError,
    Key,
    boxes_of,
    by_score,
    json_rows,
    key_of,
    numbers_of,
    optional_text,
)


def read(path: Path) -> Iterator[Answer]:
    """Answers, the best box first.

    Files that were made for a conversion of referring data to COCO's layout number the expressions where COCO
    numbers its images: ``image_id`` is the key unless a row has an ``id`` as well.

    Raises:
        AnswerError: a row without a number, or with a box or mask that is none.
    """
    groups: dict[int | str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for place, row in json_rows(path):
        identity = row.get("id", row.get("image_id"))
        if isinstance(identity, bool) or not isinstance(identity, int | str):
            raise AnswerError(f"{place}: found {describe(identity)}, expected an id or image_id")
        groups[identity].append((place, row))
    for identity, rows in groups.items():
        yield _answer(identity, rows)


def _answer(identity: int | str, rows: list[tuple[str, dict[str, Any]]]) -> Answer:
    place, first = rows[0]
    boxes = np.concatenate([boxes_of(row.get("bbox"), here) for here, row in rows])
    scores = numbers_of([row.get("score", 0.0) for _, row in rows if row.get("bbox")], place)
    found = key_of(first, place)
    number = identity if isinstance(identity, int) else found.number
    answer = Answer(Key(str(identity), number, image=found.image, text=found.text), place, boxes)
    answer.scores = scores if len(scores) == len(boxes) and len(boxes) else None
    answer.caption = optional_text(first, "caption", place)
    answer.mask = _best_mask(rows)
    return by_score(answer)


def _best_mask(rows: list[tuple[str, dict[str, Any]]]) -> dict[str, Any] | None:
    masks = [
        (row.get("score", 0.0), place, row["segmentation"]) for place, row in rows if row.get("segmentation")
    ]
    if not masks:
        return None
    best = max(range(len(masks)), key=lambda index: numbers_of([masks[index][0]], masks[index][1])[0])
    _, place, mask = masks[best]
    if not isinstance(mask, dict) or set(mask) != {"size", "counts"} or not isinstance(mask["counts"], str):
        raise AnswerError(f"{place}: segmentation: found {describe(mask)}, expected a compressed RLE")
    return mask
