"""Scoring: records + predictions + a protocol → `Result`. The only way to a number, for files and for the
runner."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from refkit.leaderboard.breakdowns.analysis import Scene, facts_needed, pending_breakdowns
from refkit.leaderboard.breakdowns.objects import read_objects
from refkit.leaderboard.breakdowns.samples import Samples
from refkit.leaderboard.evaluation import PredictionSource, Scored, evaluate
from refkit.leaderboard.pairing import Pairing, RecordSource, ScoringError
from refkit.leaderboard.result import Analysis, Cell, Metric, PerSample, Result
from refkit.leaderboard.statistics import ImageBootstrap
from refkit.leaderboard.two_processes import evaluate_in_two
from refkit.metrics.protocol import Evaluation

__all__ = ["DRAWS", "PredictionSource", "RecordSource", "Result", "ScoringError", "score"]

DRAWS = 2000
UNUSABLE_WARNING = 0.5
PLACES = ("boxes", "mask")
"""Fields of an answer that say where something is."""


def score(
    records: RecordSource,
    predictions: PredictionSource,
    protocol: str = "rec/1",
    *,
    allow_partial: bool = False,
    by: str | Sequence[str] = (),
    draws: int = DRAWS,
    seed: int = 0,
    objects: str | os.PathLike[str] | None = None,
    processes: int = 1,
) -> Result:
    """Score predictions under a protocol.

    Predictions in memory are rounded as they would be in a file, so both ways give the same bits.

    Args:
        records: a records file, or its header with the records.
        predictions: a prediction file, or its header with predictions by id in pixels of the original image.
        protocol: id of the protocol.
        allow_partial: leave unanswered records out instead of counting them as wrong. Such a number is no
            score of the set.
        by: breakdowns: ``all``, names of `refkit.leaderboard.breakdowns.partitions.NAMES`, or facts of the
            records (``kind``).
        draws: of the image bootstrap.
        seed: of the image bootstrap.
        objects: all annotated objects of the pictures (COCO ``instances.json``), for the kinds of errors
            and for the number of other objects of the class.
        processes: with two, a process is started that does half of a large job. Leave it at one in a script
            that has no ``if __name__ == "__main__"``: the other process would run the script again.

    Returns:
        The metrics with intervals, coverage, breakdowns and a row per sample.

    Raises:
        ScoringError: another digest, unknown ids, or no records.
        BreakdownError: a breakdown that no record allows.
        ObjectsError: a file of objects that cannot be used.
        RecordError: a records file that is broken or was changed.
        PredictionError: a prediction file that is broken.
        ProtocolError: no such protocol, or records that it cannot score.
        AnswerError: a prediction that contradicts its record, such as a mask of another size.
    """
    names = (by,) if isinstance(by, str) else tuple(by)
    facts = facts_needed(names) if names else None
    run = evaluate_in_two if processes > 1 else evaluate
    scored = run(records, predictions, protocol, allow_partial=allow_partial, facts=facts)
    bootstrap = ImageBootstrap(scored.pairing.clusters(), draws, seed)
    if scored.samples is None:
        return _result(scored, bootstrap, draws, seed)
    scene = _scene(scored.samples, scored, objects)
    return _result(scored, bootstrap, draws, seed, names, scene)


def _scene(samples: Samples, scored: Scored, objects: str | os.PathLike[str] | None) -> Scene:
    pairing, places = scored.pairing, scored.protocol.answer in PLACES
    images = pairing.images()
    found, digest = (None, "") if objects is None else read_objects(objects, images)
    return Scene(samples, pairing.ids, pairing.clusters(), images, found, digest, places)


def _result(
    scored: Scored,
    bootstrap: ImageBootstrap,
    draws: int,
    seed: int,
    names: Sequence[str] = (),
    scene: Scene | None = None,
) -> Result:
    protocol, pairing, evaluation = scored.protocol, scored.pairing, scored.evaluation
    header = scored.truth.header
    metrics, by, analysis = _numbers(evaluation, names, scene, bootstrap)
    return Result(
        protocol=protocol,
        records=header.name,
        records_digest=header.digest_masks if protocol.with_masks else header.digest,
        model=scored.header.model,
        checkpoint=scored.header.checkpoint,
        predictions=_file_digest(scored.path) if scored.path else "",
        expected=pairing.expected,
        answered=sum(pairing.answered),
        scored=len(pairing.ids),
        invalid=int(evaluation.invalid.sum()),
        images=len(pairing.images()),
        partial=pairing.partial,
        metrics=metrics,
        by=by,
        draws=draws,
        seed=seed,
        per_sample=PerSample(pairing.ids, _statuses(pairing, evaluation), evaluation.per_sample),
        warnings=warnings_of(scored),
        analysis=analysis,
        details=evaluation.details,
        tools=evaluation.tools,
    )


def _numbers(
    evaluation: Evaluation, names: Sequence[str], scene: Scene | None, bootstrap: ImageBootstrap
) -> tuple[dict[str, Metric], dict[str, dict[str, Cell]], Analysis | None]:
    """All metrics, over everything and within groups, from the same draws."""
    places = {name: bootstrap.add(column) for name, column in evaluation.columns.items()}
    pending = pending_breakdowns(names, scene, evaluation, bootstrap) if scene else None
    intervals = bootstrap.intervals()
    metrics = {
        name: Metric(column.value, intervals[places[name]]) for name, column in evaluation.columns.items()
    }
    by, analysis = pending.finish(intervals) if pending else ({}, None)
    return metrics, by, analysis


def _statuses(pairing: Pairing, evaluation: Evaluation) -> list[str]:
    invalid = evaluation.invalid.tolist()
    return [
        "missing" if not answered else "invalid" if broken else "ok"
        for answered, broken in zip(pairing.answered, invalid, strict=True)
    ]


def warnings_of(scored: Scored) -> tuple[str, ...]:
    """What a reader should know before the numbers are believed, in sentences."""
    return tuple(_warnings(scored.pairing, scored.evaluation))


def _warnings(pairing: Pairing, evaluation: Evaluation) -> Iterator[str]:
    missing = pairing.expected - sum(pairing.answered)
    if missing:
        treated = "left out: this is no score of the set" if pairing.partial else "counted as wrong"
        yield f"{missing} of {pairing.expected} records have no prediction; they are {treated}"
    invalid = int(evaluation.invalid.sum())
    if invalid > UNUSABLE_WARNING * len(pairing.ids):
        yield f"{invalid} of {len(pairing.ids)} answers hold nothing that this protocol can use"
    yield from evaluation.warnings
    if pairing.doubt:
        yield pairing.doubt


def _file_digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
