"""MDETR dumps as JSON: ``{"<sentence number>": {"boxes": […], "scores": […]}}`` or the same as a list.

The evaluator keeps one group of ranked boxes per expression. Dumps by ``torch.save`` are pickles and are not
opened: write them as JSON with the program that made them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refkit.data.validation import describe
from refkit.leaderboard.readers.answers import (
    Answer,
    AnswerError,
    Key,
    boxes_of,
    by_score,
    key_of,
    numbers_of,
    parse_json,
    read_bytes,
    read_text,
)

_PICKLES = (b"\x80", b"PK")


def read(path: Path) -> Iterator[Answer]:
    """Answers, the best box first.

    Raises:
        AnswerError: a pickle, another layout, or boxes and scores of different number.
    """
    if read_bytes(path).startswith(_PICKLES):
        raise AnswerError(
            f"{path}: a pickle, which could run code when opened; write the predictions as JSON"
        )
    content = parse_json(read_text(path), str(path))
    if isinstance(content, dict):
        for name, row in content.items():
            place = f"{path}: {name[:100]!r}"
            yield _answer(
                Key(name, int(name) if name.isascii() and name.isdigit() and len(name) < 19 else None),
                row,
                place,
            )
    elif isinstance(content, list):
        for count, row in enumerate(content, start=1):
            place = f"{path}: row {count}"
            key = key_of(row, place) if isinstance(row, dict) else Key()
            yield _answer(_sentence(key, row), row, place)
    else:
        raise AnswerError(f"{path}: found {describe(content)}, expected predictions by sentence number")


def _sentence(key: Key, row: Any) -> Key:
    """MDETR calls the number of the expression ``image_id`` where nothing else is given."""
    if key.id is None and isinstance(key.image, int):
        return Key(str(key.image), key.image)
    return key


def _answer(key: Key, row: Any, place: str) -> Answer:
    if not isinstance(row, dict) or "boxes" not in row:
        raise AnswerError(f"{place}: found {describe(row)}, expected {{'boxes': […], 'scores': […]}}")
    boxes = boxes_of(row["boxes"], f"{place}: boxes")
    scores = None if row.get("scores") is None else numbers_of(row["scores"], f"{place}: scores")
    if scores is not None and len(scores) != len(boxes):
        raise AnswerError(f"{place}: {len(boxes)} boxes, but {len(scores)} scores")
    return by_score(Answer(key, place, boxes, scores))
