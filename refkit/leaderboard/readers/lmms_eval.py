"""lmms-eval ``--log_samples`` files: one row per document with the raw and the filtered answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refkit.data.validation import describe
from refkit.leaderboard.readers.answers import Answer, AnswerError, Key, json_rows, key_of
from refkit.leaderboard.readers.text import from_text


def read(path: Path) -> Iterator[Answer]:
    """Answers; ``filtered_resps`` before ``resps``, the first of several.

    Headers of newer versions (a first row without answers, with ``task_name``) are passed over.

    Raises:
        AnswerError: a row without document number or answer.
    """
    for place, row in json_rows(path):
        if "doc_id" not in row and ("task_name" in row or "config" in row):
            continue
        position = row.get("doc_id")
        if isinstance(position, bool) or not isinstance(position, int):
            raise AnswerError(f"{place}: doc_id: found {describe(position)}, expected a whole number")
        document = row.get("doc")
        known = key_of(document, place) if isinstance(document, dict) else Key()
        key = Key(known.id, known.number, position, known.image, known.text)
        yield from_text(_first_text(row, place), key, place)


def _first_text(row: dict[str, Any], place: str) -> str:
    value = row.get("filtered_resps", row.get("resps"))
    while isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict):
        value = value.get("pred", value.get("text"))
    if not isinstance(value, str):
        raise AnswerError(f"{place}: filtered_resps: found {describe(value)}, expected an answer in words")
    return value
