"""What scoring says: numbers with their intervals, coverage and breakdowns, and how they are written as
JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refkit.data.files import atomic_open
from refkit.metrics.protocol import Protocol
from refkit.version import __version__

FORMAT = "refkit.result/1"
PER_SAMPLE_FORMAT = "refkit.per-sample/1"
LISTED_INVALID = 20


@dataclass(frozen=True, slots=True)
class Metric:
    """One number.

    Attributes:
        value: full precision; NaN over no samples.
        interval: 95 % interval by image bootstrap, None where fewer than two images contribute.
    """

    value: float
    interval: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """The metric as a JSON object; NaN becomes null."""
        value = None if math.isnan(self.value) else self.value
        return {"value": value, "interval": self.interval and list(self.interval)}


@dataclass(frozen=True, slots=True)
class Cell:
    """The metrics of one subgroup, over ``n`` samples."""

    n: int
    metrics: Mapping[str, Metric]

    def to_json(self) -> dict[str, Any]:
        """The cell as a JSON object."""
        return {"n": self.n} | {name: metric.to_json() for name, metric in self.metrics.items()}


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether an answer of score 0.8 is right in 80 % of cases.

    Attributes:
        bins: by range of the score: ``accuracy`` and mean ``confidence`` of the answers in it.
        error: expected calibration error, the mean of their distance weighted by answers (Guo et al. 2017).
    """

    bins: Mapping[str, Cell]
    error: float

    @classmethod
    def of_bins(cls, bins: Mapping[str, Cell]) -> Calibration:
        """From bins with ``accuracy`` and ``confidence``."""
        gaps = [
            cell.n * abs(cell.metrics["accuracy"].value - cell.metrics["confidence"].value)
            for cell in bins.values()
        ]
        return cls(bins, math.fsum(gaps) / sum(cell.n for cell in bins.values()))

    def to_json(self) -> dict[str, Any]:
        """The calibration as a JSON object."""
        return {"expected_calibration_error": self.error, "bins": cells_to_json(self.bins)}


@dataclass(frozen=True, slots=True)
class Analysis:
    """What went wrong, beside the breakdowns by group.

    Attributes:
        rules: version and digest of the word lists and cuts behind all breakdowns.
        objects: where the annotated objects of the pictures come from.
        objects_complete: whether these are all objects, or only the targets of the records.
        errors: share of every kind of answer; empty where no boxes are answered.
        iou_histogram: share of the samples per range of IoU.
        calibration: None without scores.
    """

    rules: Mapping[str, str]
    objects: str
    objects_complete: bool
    errors: Mapping[str, Cell]
    iou_histogram: Mapping[str, Cell]
    calibration: Calibration | None

    def to_json(self) -> dict[str, Any]:
        """The analysis as a JSON object."""
        return {
            "rules": dict(self.rules),
            "objects": {"source": self.objects, "complete": self.objects_complete},
            "errors": cells_to_json(self.errors),
            "iou_histogram": cells_to_json(self.iou_histogram),
            "calibration": self.calibration and self.calibration.to_json(),
        }


def cells_to_json(cells: Mapping[str, Cell]) -> dict[str, Any]:
    """Cells by label as a JSON object."""
    return {label: cell.to_json() for label, cell in cells.items()}


@dataclass(frozen=True, slots=True, eq=False)
class PerSample:
    """One row per scored record, in the order of the records.

    Attributes:
        ids: record ids.
        status: ``ok``, ``invalid`` or ``missing``.
        values: ``(n,)`` arrays by name (``iou``).
    """

    ids: Sequence[str]
    status: Sequence[str]
    values: Mapping[str, NDArray]

    def write(self, path: str | os.PathLike[str], result: Result) -> None:
        """Write ``refkit.per-sample/1``: a header line, then one line per record; ``.gz`` compresses."""
        header = {"format": PER_SAMPLE_FORMAT, "protocol": result.protocol.id, "records": result.records}
        header |= {"records_digest": result.records_digest, "model": result.model}
        columns = {name: np.asarray(values).tolist() for name, values in self.values.items()}
        with atomic_open(path, compress=os.fspath(path).endswith(".gz")) as file:
            file.write(_line(header))
            for row, (identity, status) in enumerate(zip(self.ids, self.status, strict=True)):
                values = {name: _number(column[row]) for name, column in columns.items()}
                file.write(_line({"id": identity, "status": status, **values}))


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """The score of one prediction file under one protocol.

    Attributes:
        protocol: what was computed.
        records: name of the records, ``refcoco.unc.testA``.
        records_digest: their digest.
        model: name of the method.
        checkpoint: ``sha256:…`` of its weights, empty where unknown.
        predictions: ``sha256:…`` of the prediction file; empty when the predictions never were a file.
        expected: number of records.
        answered: how many of them have a prediction.
        scored: the denominator: ``expected``, or ``answered`` with ``partial``.
        invalid: answered without a usable answer.
        images: number of images among the scored records.
        partial: missing answers were left out instead of counted as wrong; no leaderboard takes such a
            number.
        metrics: by name, in the order in which they are shown.
        by: breakdowns, ``{"kind": {"relation": Cell}}``.
        draws: of the bootstrap.
        seed: of the bootstrap.
        warnings: sentences for the reader.
        per_sample: one row per scored record.
        analysis: kinds of errors, histogram and calibration; None without breakdowns.
        details: further numbers of the protocol by table and name, such as average precisions.
        tools: which program did a part of the work, by part: ``{"tokenizer": "ptb-java"}``.
    """

    protocol: Protocol
    records: str
    records_digest: str
    model: str
    checkpoint: str
    predictions: str
    expected: int
    answered: int
    scored: int
    invalid: int
    images: int
    partial: bool
    metrics: Mapping[str, Metric]
    by: Mapping[str, Mapping[str, Cell]]
    draws: int
    seed: int
    per_sample: PerSample
    warnings: Sequence[str] = field(default_factory=tuple)
    analysis: Analysis | None = None
    details: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)

    @property
    def coverage(self) -> float:
        """Share of the records that are answered."""
        return self.answered / self.expected if self.expected else math.nan

    @property
    def invalid_share(self) -> float:
        """Share of the scored records that are answered without a usable answer."""
        return self.invalid / self.scored if self.scored else math.nan

    def __getitem__(self, metric: str) -> float:
        """The value of one metric by name, ``result["acc50"]``."""
        return self.metrics[metric].value

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object: no date and no path, so that equal inputs give equal bytes."""
        invalid_ids = [
            identity
            for identity, status in zip(self.per_sample.ids, self.per_sample.status, strict=True)
            if status == "invalid"
        ]
        return {
            "format": FORMAT,
            "protocol": {"id": self.protocol.id, "text": self.protocol.text},
            "records": self.records,
            "records_digest": self.records_digest,
            "model": self.model,
            "checkpoint": self.checkpoint,
            "predictions": self.predictions,
            "coverage": {"answered": self.answered, "expected": self.expected},
            "partial": self.partial,
            "n": self.scored,
            "images": self.images,
            "invalid": {"n": self.invalid, "first_ids": invalid_ids[:LISTED_INVALID]},
            "metrics": {name: metric.to_json() for name, metric in self.metrics.items()},
            "by": {key: cells_to_json(cells) for key, cells in self.by.items()},
            "analysis": self.analysis and self.analysis.to_json(),
            **_details_to_json(self.details),
            **({"tools": dict(self.tools)} if self.tools else {}),
            "interval": {
                "level": 0.95,
                "method": "percentile bootstrap over images",
                "draws": self.draws,
                "seed": self.seed,
            },
            "warnings": list(self.warnings),
            "refkit": __version__,
        }


def _details_to_json(details: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    tables = {
        table: {name: _number(value) for name, value in numbers.items()} for table, numbers in details.items()
    }
    return {"details": tables} if tables else {}


def _number(value: Any) -> Any:
    """A number as JSON can hold it: NaN becomes null."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _line(fields: dict[str, Any]) -> bytes:
    return (json.dumps(fields) + "\n").encode("ascii")
