"""Scoring: records + predictions + a protocol → `Result`. The only way to a number, for files and for the
runner."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from refkit.leaderboard.box_spaces import PIXEL
from refkit.leaderboard.pairing import Pairing, RecordSource, ScoringError, Truth
from refkit.leaderboard.predictions import (
    PredictionError,
    PredictionFile,
    PredictionHeader,
    as_written,
    load_predictions,
)
from refkit.leaderboard.result import Cell, Metric, PerSample, Result
from refkit.leaderboard.statistics import ImageBootstrap
from refkit.metrics.breakdown import Groups, group_columns
from refkit.metrics.protocol import Column, Evaluation, Protocol, get_protocol
from refkit.structures import Prediction

__all__ = ["DRAWS", "PredictionSource", "RecordSource", "Result", "ScoringError", "score"]

DRAWS = 2000
UNUSABLE_WARNING = 0.5

PredictionSource = str | os.PathLike[str] | tuple[PredictionHeader, Mapping[str, Prediction]]


def score(
    records: RecordSource,
    predictions: PredictionSource,
    protocol: str = "rec/1",
    *,
    allow_partial: bool = False,
    by: str | Sequence[str] = (),
    draws: int = DRAWS,
    seed: int = 0,
) -> Result:
    """Score predictions under a protocol.

    Predictions in memory are rounded as they would be in a file, so both ways give the same bits.

    Args:
        records: a records file, or its header with the records.
        predictions: a prediction file, or its header with predictions by id in pixels of the original image.
        protocol: id of the protocol.
        allow_partial: leave unanswered records out instead of counting them as wrong. Such a number is no
            score of the set.
        by: breakdowns: ``category`` or the name of a fact of the records (``kind``).
        draws: of the image bootstrap.
        seed: of the image bootstrap.

    Returns:
        The metrics with intervals, coverage, breakdowns and a row per sample.

    Raises:
        ScoringError: another digest, unknown ids, no records, or a breakdown that no record knows.
        RecordError: a records file that is broken or was changed.
        PredictionError: a prediction file that is broken.
        ProtocolError: no such protocol, or records that it cannot score.
    """
    chosen = get_protocol(protocol)
    answers = _load_answers(predictions)
    truth = Truth(records)
    truth.check_stated_digest(answers, chosen)
    pairing = Pairing(truth, answers, (by,) if isinstance(by, str) else tuple(by), allow_partial)
    evaluation = chosen.evaluate(iter(pairing))
    truth.check_found_digest(answers, chosen)
    pairing.check_complete()
    return _result(chosen, truth, answers, pairing, evaluation, draws, seed)


def _load_answers(source: PredictionSource) -> PredictionFile:
    if isinstance(source, tuple):
        header, predictions = source
        if header.box != PIXEL:
            raise PredictionError(f"predictions in memory are in {PIXEL!r}, not in {header.box!r}", "box")
        for identity, prediction in predictions.items():
            if identity != prediction.id:
                raise PredictionError(
                    f"the prediction of {identity!r} carries the id {prediction.id!r}", "id"
                )
        return PredictionFile(header, {key: as_written(value) for key, value in predictions.items()})
    return load_predictions(source)


def _result(
    protocol: Protocol,
    truth: Truth,
    answers: PredictionFile,
    pairing: Pairing,
    evaluation: Evaluation,
    draws: int,
    seed: int,
) -> Result:
    clusters = pairing.clusters()
    bootstrap = ImageBootstrap(clusters, draws, seed)
    metrics, by = _with_intervals(evaluation.columns, pairing.groups, bootstrap)
    return Result(
        protocol=protocol,
        records=truth.header.name,
        records_digest=truth.header.digest_masks if protocol.with_masks else truth.header.digest,
        model=answers.header.model,
        checkpoint=answers.header.checkpoint,
        predictions=_file_digest(answers.path) if answers.path else "",
        expected=pairing.expected,
        answered=sum(pairing.answered),
        scored=len(pairing.ids),
        invalid=int(evaluation.invalid.sum()),
        images=int(clusters.max()) + 1,
        partial=pairing.partial,
        metrics=metrics,
        by=by,
        draws=draws,
        seed=seed,
        per_sample=PerSample(pairing.ids, _statuses(pairing, evaluation), evaluation.per_sample),
        warnings=tuple(_warnings(pairing, evaluation)),
    )


def _with_intervals(
    columns: Mapping[str, Column], groups: Mapping[str, Groups], bootstrap: ImageBootstrap
) -> tuple[dict[str, Metric], dict[str, dict[str, Cell]]]:
    """All metrics, over everything and within groups, from the same draws."""
    places = {name: bootstrap.add(column) for name, column in columns.items()}
    cells = [
        (by, label, n, {name: (column.value, bootstrap.add(column)) for name, column in masked.items()})
        for by, group in groups.items()
        for label, n, masked in group_columns(columns, group)
    ]
    intervals = bootstrap.intervals()
    metrics = {name: Metric(column.value, intervals[places[name]]) for name, column in columns.items()}
    table: dict[str, dict[str, Cell]] = {by: {} for by in groups}
    for by, label, n, values in cells:
        numbers = {name: Metric(value, intervals[place]) for name, (value, place) in values.items()}
        table[by][label] = Cell(n, numbers)
    return metrics, table


def _statuses(pairing: Pairing, evaluation: Evaluation) -> list[str]:
    invalid = evaluation.invalid.tolist()
    return [
        "missing" if not answered else "invalid" if broken else "ok"
        for answered, broken in zip(pairing.answered, invalid, strict=True)
    ]


def _warnings(pairing: Pairing, evaluation: Evaluation) -> Iterator[str]:
    missing = pairing.expected - sum(pairing.answered)
    if missing:
        treated = "left out: this is no score of the set" if pairing.partial else "counted as wrong"
        yield f"{missing} of {pairing.expected} records have no prediction; they are {treated}"
    invalid = int(evaluation.invalid.sum())
    if invalid > UNUSABLE_WARNING * len(pairing.ids):
        yield f"{invalid} of {len(pairing.ids)} answers hold nothing that this protocol can use"
    doubt = pairing.doubt()
    if doubt:
        yield doubt


def _file_digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
