"""Answers to questions about regions, written for a judge outside refkit (Ferret-Bench's layout)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from refkit.data.files import atomic_write
from refkit.data.records import Record, iter_records, read_header
from refkit.leaderboard.predictions import read_predictions
from refkit.structures import Prediction


class JudgeError(ValueError):
    """Records that no judge knows, or without answers."""


def write_judge_answers(records: str | Path, predictions: str | Path, out: str | Path) -> int:
    """Write ``{"question_id", "image", "category", "text"}`` per line, in the order of the questions.

    A question without a usable answer is written with an empty text, so that the judge counts it.

    Args:
        records: of the source ``ferret-bench``.
        predictions: with a caption, the answer, per record.
        out: file to write, in one step.

    Returns:
        How many questions have an answer.

    Raises:
        JudgeError: a record without the number of its question, or no answer at all.
        RecordError: the records cannot be read.
        PredictionError: the predictions cannot be read.
    """
    _, answers = read_predictions(predictions)
    name = read_header(Path(records)).name
    lines, answered = [], 0
    for record, text in _answered(records, answers):
        number = record.extra.get("question_id")
        if number is None:
            raise JudgeError(
                f"{records}: record {record.id} of {name} has no question_id; import the questions with "
                "'refkit data import ferret-bench'"
            )
        category = (record.facts or {}).get("kind", "")
        line = {"question_id": number, "image": record.image.file, "category": category, "text": text}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        answered += bool(text)
    if not answered:
        raise JudgeError(f"{predictions} holds no answer to a question of {name}")
    atomic_write(Path(out), "".join(lines))
    return answered


def _answered(records: str | Path, answers: dict[str, Prediction]) -> Iterator[tuple[Record, str]]:
    for record in iter_records(Path(records)):
        answer = answers.get(record.id)
        told = answer.caption if answer is not None and answer.status == "ok" else None
        yield record, (told or "").strip()
