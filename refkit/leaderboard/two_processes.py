"""`evaluate` for large files, in two processes: each reads and evaluates one half.

An optimistic way, for protocols that look at each sample by itself. Whatever is unusual about the half of the
other process is left to `evaluate` in one process, which says what it is; both ways give the same bits.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from refkit.data.files import is_gzip
from refkit.data.record_scan import Tally
from refkit.leaderboard import pairing, predictions
from refkit.leaderboard.breakdowns.samples import Samples
from refkit.leaderboard.evaluation import PredictionSource, Scored, collection_paused, evaluate
from refkit.leaderboard.pairing import Pairing, RecordSource, Truth
from refkit.leaderboard.prediction_table import PredictionTable
from refkit.leaderboard.predictions import PredictionFile, load_predictions
from refkit.metrics.protocol import Evaluation, Protocol, get_protocol

Span = tuple[int, int]
T = TypeVar("T")

WORTH_TWO = 16 << 20
"""Bytes of a file below which starting a process takes longer than it saves."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What the other process found in its half of the records."""

    tally: Tally
    pairing: Pairing
    evaluation: Evaluation
    samples: Samples | None


def evaluate_in_two(
    records: RecordSource,
    predictions: PredictionSource,
    protocol: str = "rec/1",
    *,
    allow_partial: bool = False,
    facts: Sequence[str] | None = None,
) -> Scored:
    """`evaluate`, half of it in another process where the files are large plain ones."""
    found = divided(records, predictions, get_protocol(protocol), allow_partial, facts)
    if found is not None:
        return found
    return evaluate(records, predictions, protocol, allow_partial=allow_partial, facts=facts)


def divided(
    records: RecordSource,
    answers_from: PredictionSource,
    protocol: Protocol,
    allow_partial: bool,
    facts: Sequence[str] | None,
    worth_two: int = WORTH_TWO,
) -> Scored | None:
    """The half-and-half way.

    Args:
        records: a records file.
        answers_from: a prediction file.
        protocol: what to compute.
        allow_partial: leave unanswered records out.
        facts: gather what breakdowns need, and these facts of the records.
        worth_two: size of either file in bytes from which on it is divided.

    Returns:
        None where that is not possible, not worthwhile, or did not work out.
    """
    spans = [_halves(source, protocol, worth_two) for source in (records, answers_from)]
    if spans[0] is None or spans[1] is None or isinstance(records, tuple):
        return None
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _without_bars) as other, collection_paused():
        answers = _load(other, os.fspath(answers_from), *spans[1])  # type: ignore[arg-type]
        if answers is None:
            return None
        (mine, theirs), samples = spans[0], None if facts is None else Samples(facts)
        truth = Truth(records, mine)
        truth.check_header(answers, protocol)
        rest = other.submit(_part, os.fspath(records), theirs, answers, protocol.id, allow_partial, facts)
        paired = Pairing(truth, answers, samples, allow_partial)
        evaluation = protocol.evaluate(iter(paired))
        part = _result(rest)
    if part is None or not truth.tally.lines.keys().isdisjoint(part.tally.lines):
        return None
    truth.finish(part.tally)
    paired.join(part.pairing)
    if samples is not None and part.samples is not None:
        samples.join(part.samples)
    truth.check_found_digest(answers, protocol)
    paired.finish()
    evaluation = evaluation.joined(part.evaluation)
    return Scored(protocol, truth, answers.header, answers.path, paired, evaluation, samples)


def _halves(
    source: RecordSource | PredictionSource, protocol: Protocol, worth_two: int
) -> tuple[Span, Span] | None:
    """Two spans of a large plain file; None for anything else."""
    if not protocol.by_sample or not isinstance(source, str | os.PathLike) or not Path(source).is_file():
        return None
    size = Path(source).stat().st_size
    if size < worth_two or is_gzip(source):
        return None
    return (0, size // 2), (size // 2, size)


def _load(other: ProcessPoolExecutor, path: str, mine: Span, theirs: Span) -> PredictionFile | None:
    loading = other.submit(load_predictions, path, theirs)
    answers, rest = load_predictions(path, mine), _result(loading)
    if rest is None or not answers.predictions.keys().isdisjoint(rest.predictions):
        return None
    assert isinstance(answers.predictions, PredictionTable) and isinstance(rest.predictions, PredictionTable)
    answers.predictions.join(rest.predictions)
    answers.input_sizes.update(rest.input_sizes)
    return answers


def _result(future: Future[T]) -> T | None:
    try:
        return future.result()
    except Exception:
        return None


def _part(
    records: str,
    span: Span,
    answers: PredictionFile,
    protocol: str,
    allow_partial: bool,
    facts: Sequence[str] | None,
) -> Part:
    """What the other process does."""
    samples = None if facts is None else Samples(facts)
    with collection_paused():
        truth = Truth(records, span)
        paired = Pairing(truth, answers, samples, allow_partial)
        evaluation = get_protocol(protocol).evaluate(iter(paired))
    return Part(truth.tally, paired, evaluation, samples)


def _without_bars() -> None:
    """The process that was asked shows its own."""
    pairing.BAR["disable"] = predictions.BAR["disable"] = True
