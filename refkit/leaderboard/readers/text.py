"""Raw answers of grounding language models: rows with an id (or picture and expression) and a text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refkit.leaderboard.readers.answers import Answer, AnswerError, Key, input_size_of, json_rows, key_of
from refkit.leaderboard.readers.text_boxes import boxes_in_text

ANSWER_FIELDS = ("answer", "response", "prediction", "raw_output", "raw", "output", "generated_text")


def read(path: Path) -> Iterator[Answer]:
    """Answers from a JSON list or JSON Lines.

    Raises:
        AnswerError: a row without an answer.
    """
    for place, row in json_rows(path):
        name = next((name for name in ANSWER_FIELDS if row.get(name) is not None), None)
        if name is None:
            raise AnswerError(f"{place}: no answer; expected one of the fields {', '.join(ANSWER_FIELDS)}")
        yield from_text(row[name], key_of(row, place), place, input_size_of(row, place))


def from_text(value: Any, key: Key, place: str, input_size: tuple[float, float] | None = None) -> Answer:
    """An answer from a raw text; without a box in it, the text is kept and the answer is not parsed."""
    text = value if isinstance(value, str) else str(value)
    boxes = boxes_in_text(text)
    if boxes is None:
        return Answer(key, place, raw=text, parsed=False, input_size=input_size)
    return Answer(key, place, boxes=boxes, raw=text, input_size=input_size)
