"""Raw answers of grounding language models: rows with an id (or picture and expression) and a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refkit.leaderboard.readers.answers import Answer, AnswerError, Key, input_size_of, json_rows, key_of
from refkit.leaderboard.readers.text_boxes import boxes_in_text

ANSWER_FIELDS = ("answer", "response", "prediction", "raw_output", "raw", "output", "generated_text")


def read(
    path: Path, boxes_in: Callable[[str], NDArray[np.float64] | None] = boxes_in_text
) -> Iterator[Answer]:
    """Answers from a JSON list or JSON Lines.

    Args:
        path: of the file.
        boxes_in: from an answer to ``(k, 4)`` boxes, or None where it holds none.

    Raises:
        AnswerError: a row without an answer.
    """
    for place, row in json_rows(path):
        name = next((name for name in ANSWER_FIELDS if row.get(name) is not None), None)
        if name is None:
            raise AnswerError(f"{place}: no answer; expected one of the fields {', '.join(ANSWER_FIELDS)}")
        yield from_text(row[name], key_of(row, place), place, input_size_of(row, place), boxes_in)


def from_text(
    value: Any,
    key: Key,
    place: str,
    input_size: tuple[float, float] | None = None,
    boxes_in: Callable[[str], NDArray[np.float64] | None] = boxes_in_text,
) -> Answer:
    """An answer from a raw text; without a box in it, the text is kept and the answer is not parsed."""
    text = value if isinstance(value, str) else str(value)
    boxes = boxes_in(text)
    if boxes is None:
        return Answer(key, place, raw=text, parsed=False, input_size=input_size)
    return Answer(key, place, boxes=boxes, raw=text, input_size=input_size)
