"""What every reader gives: one `Answer` per answered question, its boxes as they stand in the file."""

from __future__ import annotations

import gzip
import json
import math
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refkit.data.files import is_gzip
from refkit.data.validation import describe

LARGEST_FILE = 1 << 30
MOST_BOXES = 10_000


class AnswerError(ValueError):
    """A foreign file that cannot be read as the format it is said to be, or that answers other records."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a foreign row says about the question it answers; which of these is used is declared.

    Attributes:
        id: id of the record.
        number: number of the sentence or object, as in the last part of an id.
        position: row among the records, from 0.
        image: number or file name of the picture.
        text: the expression.
    """

    id: str | None = None
    number: int | None = None
    position: int | None = None
    image: int | str | None = None
    text: str | None = None


def no_boxes() -> NDArray[np.float64]:
    """An answer without a box."""
    return np.zeros((0, 4))


@dataclass(slots=True)
class Answer:
    """One answer.

    Attributes:
        key: which question it answers.
        place: where it stands, for messages.
        boxes: ``(k, 4)`` in the declared space, best first.
        scores: ``(k,)``, None without.
        mask: COCO compressed RLE of the picture.
        caption: generated text.
        raw: the unparsed answer.
        parsed: False when nothing could be read from ``raw``.
        input_size: width and height of the network input, where the row gives it.
    """

    key: Key
    place: str
    boxes: NDArray[np.float64] = field(default_factory=no_boxes)
    scores: NDArray[np.float64] | None = None
    mask: dict[str, Any] | None = None
    caption: str | None = None
    raw: str | None = None
    parsed: bool = True
    input_size: tuple[float, float] | None = None


def read_bytes(path: Path) -> bytes:
    """A plain or gzip file with a limit on what it unpacks to.

    Raises:
        AnswerError: too large, cut off, or not to be read.
    """
    try:
        with gzip.open(path, "rb") if is_gzip(path) else path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise AnswerError(f"{path}: the gzip stream is cut off or damaged ({error})") from None
    except OSError as error:
        raise AnswerError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > LARGEST_FILE:
        raise AnswerError(f"{path}: more than {LARGEST_FILE:,} bytes; split the file")
    return data


def read_text(path: Path) -> str:
    """A UTF-8 file, with or without a byte order mark.

    Raises:
        AnswerError: as for `read_bytes`, or not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnswerError(f"{path}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from None


def parse_json(text: str, place: str) -> Any:
    """JSON from anybody; NaN and Infinity are read, and end as invalid boxes.

    Raises:
        AnswerError: not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"{place}: not usable JSON: {error}") from None


def json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON list or of JSON Lines, each with its place.

    A file is read as JSON Lines when its name says so (``.jsonl``).

    Raises:
        AnswerError: something else.
    """
    if path.name.removesuffix(".gz").endswith(".jsonl"):
        lines = read_text(path).split("\n")
        rows = [(f"{path}:{n}", line) for n, line in enumerate(lines, start=1) if line.strip()]
        found: Iterator[tuple[str, Any]] = ((place, parse_json(line, place)) for place, line in rows)
    else:
        content = parse_json(read_text(path), str(path))
        if not isinstance(content, list):
            raise AnswerError(f"{path}: found {describe(content)}, expected a list of answers")
        found = ((f"{path}: row {n}", row) for n, row in enumerate(content, start=1))
    for place, row in found:
        if not isinstance(row, dict):
            raise AnswerError(f"{place}: found {describe(row)}, expected an object")
        yield place, row


def boxes_of(value: Any, place: str) -> NDArray[np.float64]:
    """``(k, 4)`` from one box or a list of boxes.

    Raises:
        AnswerError: anything else.
    """
    if value is None:
        return no_boxes()
    boxes = [value] if isinstance(value, list) and value and not isinstance(value[0], list) else value
    right = isinstance(boxes, list) and len(boxes) <= MOST_BOXES
    if not right or not all(isinstance(box, list) and len(box) == 4 for box in boxes):
        raise AnswerError(f"{place}: found {describe(value)}, expected boxes of four numbers")
    return numbers_of([number for box in boxes for number in box], place).reshape(-1, 4)


def numbers_of(values: Any, place: str) -> NDArray[np.float64]:
    """A list of numbers as float64.

    Raises:
        AnswerError: something else stands in it.
    """
    if not isinstance(values, list) or any(type(value) not in (int, float) for value in values):
        raise AnswerError(f"{place}: found {describe(values)}, expected numbers")
    try:
        return np.array(values, np.float64)
    except OverflowError:
        raise AnswerError(f"{place}: an integer beyond the range of floating point numbers") from None


def optional_text(row: dict[str, Any], name: str, place: str) -> str | None:
    """A text, or None where the row has none.

    Raises:
        AnswerError: the field holds something else.
    """
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise AnswerError(f"{place}: {name}: found {describe(value)}, expected text")
    return value


def key_of(row: dict[str, Any], place: str) -> Key:
    """The usual names of ids, pictures and expressions in a row.

    Raises:
        AnswerError: one of them is neither text nor a whole number.
    """
    identity = _first(row, ("id", "question_id", "sent_id", "ref_id", "ann_id"), place)
    image = _first(row, ("image_id", "image", "file_name"), place)
    text = next(
        (row[name] for name in ("expression", "caption_text", "text", "sentence") if name in row), None
    )
    return Key(
        id=None if identity is None else str(identity),
        number=identity if isinstance(identity, int) else _number(identity),
        image=Path(image).name if isinstance(image, str) else image,
        text=text if isinstance(text, str) else None,
    )


def by_score(answer: Answer) -> Answer:
    """The same answer with its best box first; NaN scores are no scores."""
    if answer.scores is not None and np.isfinite(answer.scores).all():
        order = np.argsort(-answer.scores, kind="stable")
        answer.boxes, answer.scores = answer.boxes[order], answer.scores[order]
    else:
        answer.scores = None
    return answer


def input_size_of(row: dict[str, Any], place: str) -> tuple[float, float] | None:
    """``input_size: [width, height]`` of a row.

    Raises:
        AnswerError: not two positive numbers.
    """
    value = row.get("input_size")
    if value is None:
        return None
    numbers = numbers_of(value, f"{place}: input_size")
    if len(numbers) != 2 or not all(math.isfinite(side) and side > 0 for side in numbers):
        raise AnswerError(f"{place}: input_size: expected [width, height] in pixels")
    return float(numbers[0]), float(numbers[1])


def _first(row: dict[str, Any], names: tuple[str, ...], place: str) -> int | str | None:
    for name in names:
        value = row.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise AnswerError(f"{place}: {name}: found {describe(value)}, expected text or a whole number")
        return value
    return None


def _number(identity: str | None) -> int | None:
    digits = identity is not None and identity.isascii() and identity.isdigit() and len(identity) <= 18
    return int(identity) if digits and identity is not None else None


def is_file(path: str | os.PathLike[str]) -> Path:
    """The path of a file.

    Raises:
        AnswerError: there is none.
    """
    if not Path(path).is_file():
        raise AnswerError(f"{path}: no such file")
    return Path(path)
