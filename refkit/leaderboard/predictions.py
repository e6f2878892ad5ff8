"""`refkit.predictions/1`: the one format for answers. JSON Lines, validated on reading, complete or absent on
disk.

The first line is a header, then one line per answered record. Reading and scoring need nothing else: what a
model predicted can be scored again without the model.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from refkit.data.files import atomic_open
from refkit.data.record_scan import iter_lines
from refkit.data.schema import RecordError
from refkit.leaderboard.box_spaces import PIXEL, to_pixels
from refkit.leaderboard.prediction_table import PredictionTable
from refkit.leaderboard.schema import (
    FORMAT,
    PredictionError,
    PredictionHeader,
    as_written,
    prediction_to_json,
    round_boxes,
    to_line,
)
from refkit.leaderboard.validation import parse_header, parse_line, parse_prediction, plain_answer
from refkit.leaderboard.writer import PredictionWriter
from refkit.structures import Prediction

__all__ = [
    "FORMAT",
    "PredictionError",
    "PredictionFile",
    "PredictionHeader",
    "PredictionWriter",
    "as_written",
    "load_predictions",
    "read_prediction_header",
    "read_predictions",
    "round_boxes",
    "write_predictions",
]

MOST_PREDICTIONS = 20_000_000
BAR: dict[str, Any] = {"unit": " lines", "unit_scale": True, "delay": 2.0, "disable": None, "leave": False}


@dataclass(slots=True)
class PredictionFile:
    """A prediction file in memory, its boxes still in the space that the header declares.

    Attributes:
        header: the first line.
        predictions: by id, in the order of the file.
        input_sizes: (width, height) of the network input by id, where the lines give it.
        path: where it comes from; empty when it was never a file.
    """

    header: PredictionHeader
    predictions: Mapping[str, Prediction]
    input_sizes: dict[str, tuple[float, float]] = field(default_factory=dict)
    path: str = ""

    def in_pixels(self, prediction: Prediction, width: int, height: int) -> Prediction:
        """A prediction of this file with boxes in xyxy pixels of its original image."""
        if self.header.box == PIXEL or prediction.boxes is None or not len(prediction.boxes):
            return prediction
        size = self.input_sizes.get(prediction.id)
        return replace(prediction, boxes=to_pixels(prediction.boxes, self.header.box, (width, height), size))


def load_predictions(path: str | os.PathLike[str], span: tuple[int, int] | None = None) -> PredictionFile:
    """Read and check a ``.jsonl`` or ``.jsonl.gz`` file.

    Args:
        path: the file.
        span: only the answers whose lines begin at these bytes, the second excluded; of a plain file.

    Raises:
        PredictionError: no such file, a broken line, an unknown field, or an id that stands twice.
    """
    lines = _numbered_lines(path, span and (0, span[1]))
    _, first = next(lines)
    header = _parse_header(path, first)
    if span and span[0]:
        lines = _numbered_lines(path, span)
    table, input_sizes = PredictionTable(), dict[str, tuple[float, float]]()
    for number, line in tqdm(lines, f"read {Path(path).name}", **BAR):
        try:
            size = _take(table, parse_line(line), header.box)
        except PredictionError as error:
            raise error.at(path, number) from None
        if size is not None:
            input_sizes[size[0]] = size[1]
    return PredictionFile(header, table, input_sizes, os.fspath(path))


def _take(
    table: PredictionTable, fields: dict[str, Any], space: str
) -> tuple[str, tuple[float, float]] | None:
    """Put one line into the table; id and size of the network input where the line gives that."""
    plain = plain_answer(fields) if space != "xyxy-input" else None
    prediction, input_size = (None, None) if plain else parse_prediction(fields, space)
    identity = plain[0] if plain else fields["id"]
    if len(table) >= MOST_PREDICTIONS:
        raise PredictionError(f"more than {MOST_PREDICTIONS:,} answers; split the records")
    if identity in table:
        raise PredictionError(f"{identity!r} is answered twice; keep one line per record", "id")
    if plain:
        table.add_boxes(*plain)
    elif prediction:
        table.add(prediction)
    return None if input_size is None else (identity, input_size)


def read_predictions(
    path: str | os.PathLike[str], sizes: Mapping[str, tuple[int, int]] | None = None
) -> tuple[PredictionHeader, dict[str, Prediction]]:
    """A prediction file with all boxes in xyxy pixels of the original images.

    Args:
        path: a ``.jsonl`` or ``.jsonl.gz`` file.
        sizes: (width, height) of the image of each record id; needed where the file declares a space that
            depends on the size of the image (all but ``xyxy-pixel`` and ``xywh-pixel``).

    Raises:
        PredictionError: as for `load_predictions`, or an image size is missing.
    """
    file = load_predictions(path)
    header = replace(file.header, box=PIXEL)
    if file.header.box == PIXEL:
        return header, dict(file.predictions)
    if file.header.box == "xywh-pixel":
        return header, {key: file.in_pixels(value, 0, 0) for key, value in file.predictions.items()}
    missing = next((key for key in file.predictions if key not in (sizes or {})), None)
    if sizes is None or missing is not None:
        reason = f"{file.header.box!r} needs the image sizes of the records; none is known for {missing!r}"
        raise PredictionError(reason, "box", file.path, 1)
    return header, {key: file.in_pixels(value, *sizes[key]) for key, value in file.predictions.items()}


def read_prediction_header(path: str | os.PathLike[str]) -> PredictionHeader:
    """The header alone.

    Raises:
        PredictionError: no such file, or its first line is no header.
    """
    _, first = next(_numbered_lines(path))
    return _parse_header(path, first)


def write_predictions(
    path: str | os.PathLike[str], header: PredictionHeader, predictions: Iterable[Prediction]
) -> int:
    """Write a file in one step; it appears under its name once it is complete.

    Args:
        path: a name that ends in ``.gz`` is compressed.
        header: its box space is ``xyxy-pixel``.
        predictions: one per record; boxes are rounded by `round_boxes`.

    Returns:
        How many predictions were written.

    Raises:
        PredictionError: another box space, an id twice, or a prediction that could not be read back.
    """
    seen: set[str] = set()
    with atomic_open(path, compress=Path(path).suffix == ".gz") as file:
        file.write(to_line(PredictionWriter.checked_header(header)))
        for prediction in predictions:
            if prediction.id in seen:
                raise PredictionError(f"{prediction.id!r} is answered twice", "id", os.fspath(path))
            seen.add(prediction.id)
            file.write(to_line(prediction_to_json(prediction)))
    return len(seen)


def _parse_header(path: str | os.PathLike[str], line: bytes) -> PredictionHeader:
    try:
        return parse_header(parse_line(line))
    except PredictionError as error:
        raise error.at(path, 1) from None


def _numbered_lines(
    path: str | os.PathLike[str], span: tuple[int, int] | None = None
) -> Iterator[tuple[int, bytes]]:
    """`iter_lines` without blank lines, its complaints as those about a prediction file."""
    try:
        for number, _, line in iter_lines(path, span):
            if line.strip() or number == 1:
                yield number, line
    except RecordError as error:
        raise PredictionError(error.reason, error.field, error.path, error.line) from None
