"""`refkit predictions import`: a foreign file → `refkit.predictions/1`, in pixels of the original images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from refkit.data.record_scan import RecordScan
from refkit.leaderboard.box_spaces import BOX_SPACES, implausible, to_pixels
from refkit.leaderboard.predictions import PredictionHeader, write_predictions
from refkit.leaderboard.readers import coco, lmms_eval, mdetr, ref_l4, text, text_syntaxes, vlmevalkit
from refkit.leaderboard.readers.answers import Answer, AnswerError, is_file
from refkit.leaderboard.readers.matching import WAYS, RecordIndex
from refkit.structures import Prediction

SHOWN = 3


@dataclass(frozen=True, slots=True)
class Format:
    """One foreign format.

    Attributes:
        read: how it is read.
        match: how its rows name their question unless told otherwise.
        help: what it is.
        space: the only space that its reader gives; empty where the file does not say.
    """

    read: Callable[[Path], Iterator[Answer]]
    match: str
    help: str
    space: str = ""


def _read_syntax(path: Path, syntax: str) -> Iterator[Answer]:
    return text.read(path, text_syntaxes.parser(syntax))


FORMATS: Mapping[str, Format] = {
    "coco": Format(coco.read, "number", "COCO results: boxes, masks or captions with scores"),
    "lmms-eval": Format(lmms_eval.read, "position", "samples file of lmms-eval"),
    "vlmevalkit": Format(vlmevalkit.read, "position", "table of VLMEvalKit (.tsv, .csv, .xlsx)"),
    "ref-l4": Format(ref_l4.read, "id", "predictions of Ref-L4's evaluator"),
    "mdetr": Format(mdetr.read, "number", "MDETR dump as JSON"),
    "text": Format(text.read, "id", "raw answers of a grounding language model"),
    **{
        name: Format(
            partial(_read_syntax, syntax=name),
            "id",
            f"raw answers in the syntax of {name}, parsed by supervision",
            text_syntaxes.SPACE,
        )
        for name in text_syntaxes.SYNTAXES
    },
}


@dataclass(slots=True)
class ImportReport:
    """What became of a foreign file.

    Attributes:
        records: how many records there are.
        written: how many of them are answered in the new file.
        unparsable: answers among them from which nothing could be read; kept as they are.
        unmatched: rows that answer no record, left out on demand.
        examples: places of the first unparsable answers.
        warning: the boxes look like another space than the declared one.
    """

    records: int
    written: int = 0
    unparsable: int = 0
    unmatched: int = 0
    examples: list[str] = field(default_factory=list)
    warning: str | None = None


def import_predictions(
    kind: str,
    source: str | os.PathLike[str],
    records: str | os.PathLike[str],
    out: str | os.PathLike[str],
    space: str,
    model: str,
    match: str | None = None,
    input_size: tuple[float, float] | None = None,
    skip_unmatched: bool = False,
    last_box: bool = False,
) -> ImportReport:
    """Read a foreign file and write a prediction file; nothing is written when a row cannot be used.

    Args:
        kind: a key of `FORMATS`.
        source: the foreign file.
        records: what it answers.
        out: the prediction file.
        space: of its boxes, a key of `BOX_SPACES`; declared, never guessed.
        model: name of the method.
        match: a key of `WAYS`, by default that of the format.
        input_size: width and height of the network input for ``xyxy-input`` where the rows do not give it.
        skip_unmatched: leave rows that answer no record out, and count them, instead of refusing the file.
        last_box: of several boxes without scores the last one is the answer (VLM-R1 reads so).

    Raises:
        AnswerError: the file is not of this format, answers other records, or one record twice.
    """
    chosen = _chosen(kind, space, match)
    scan = RecordScan(records)
    index = RecordIndex(record for _, _, record in scan)
    report = ImportReport(len(index.sizes))
    path = is_file(source)
    matched = _matched(chosen.read(path), index, match or chosen.match, skip_unmatched, report)
    converted = _Converter(space, input_size, last_box, report)
    predictions = [converted(identity, answer, index.sizes[identity]) for identity, answer in matched.items()]
    report.warning = converted.doubt()
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    settings = {"imported_from": kind, "box_space": space, "source_sha256": sha256, "last_box": last_box}
    header = PredictionHeader.answering(scan.header, model, settings=settings)
    report.written = write_predictions(out, header, predictions)
    return report


def _chosen(kind: str, space: str, match: str | None) -> Format:
    for name, value, table in (
        ("format", kind, FORMATS),
        ("space", space, BOX_SPACES),
        ("match", match, WAYS),
    ):
        if value is not None and value not in table:
            raise AnswerError(f"no {name} {value!r}; there are {', '.join(table)}")
    own = FORMATS[kind].space
    if own and space != own:
        raise AnswerError(
            f"answers of the format {kind!r} are read as {own}, because their syntax fixes the space; "
            f"declare that instead of {space!r}"
        )
    return FORMATS[kind]


def _matched(
    answers: Iterator[Answer], index: RecordIndex, how: str, skip: bool, report: ImportReport
) -> dict[str, Answer]:
    found: dict[str, Answer] = {}
    unknown: list[str] = []
    for answer in answers:
        identity = index.find(answer.key, how)
        if identity is None:
            unknown.append(answer.place)
        elif identity in found:
            raise AnswerError(f"{answer.place}: {identity!r} is answered at {found[identity].place} already")
        else:
            found[identity] = answer
    report.unmatched = len(unknown)
    if unknown and not skip:
        raise AnswerError(
            f"{len(unknown)} answers match no record by {WAYS[how]}: {'; '.join(unknown[:SHOWN])}. "
            f"Choose another --match among {', '.join(WAYS)}, or leave them out with --skip-unmatched"
        )
    if not found:
        raise AnswerError("no answer matches any record; is this the right records file?")
    return found


class _Converter:
    """Answers → predictions in pixels; remembers boxes as declared, for the plausibility warning."""

    def __init__(
        self, space: str, input_size: tuple[float, float] | None, last_box: bool, report: ImportReport
    ) -> None:
        self._space = space
        self._input_size = input_size
        self._last_box = last_box
        self._report = report
        self._declared: list[Any] = []
        self._sizes: list[tuple[int, int]] = []

    def __call__(self, identity: str, answer: Answer, size: tuple[int, int]) -> Prediction:
        if not answer.parsed:
            self._report.unparsable += 1
            if len(self._report.examples) < SHOWN:
                self._report.examples.append(answer.place)
            return Prediction(identity, boxes=answer.boxes, status="unparsable", raw=answer.raw)
        if self._last_box and answer.scores is None:
            answer.boxes = answer.boxes[::-1]
        has_boxes = len(answer.boxes) > 0
        if has_boxes:
            self._declared.append(answer.boxes[0])
            self._sizes.append(size)
        empty = answer.mask is not None or answer.caption is not None
        return Prediction(
            identity,
            boxes=self._pixels(answer, size) if has_boxes else None if empty else answer.boxes,
            scores=answer.scores,
            mask=answer.mask,
            caption=answer.caption,
            raw=answer.raw,
        )

    def _pixels(self, answer: Answer, size: tuple[int, int]) -> np.ndarray:
        try:
            return to_pixels(answer.boxes, self._space, size, answer.input_size or self._input_size)
        except ValueError as error:
            raise AnswerError(f"{answer.place}: {error}; give it with --input-size") from None

    def doubt(self) -> str | None:
        """The plausibility warning on the declared space."""
        if not self._declared:
            return None
        doubt = implausible(np.array(self._declared), np.array(self._sizes, np.float64), self._space)
        return doubt and doubt.replace("the header declares", "--space declares")
