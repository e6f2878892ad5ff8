"""Records and predictions become one `Evaluation`: every sample scored, nothing summed up."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from refkit.leaderboard.box_spaces import PIXEL
from refkit.leaderboard.breakdowns.samples import Samples
from refkit.leaderboard.pairing import Pairing, RecordSource, Truth
from refkit.leaderboard.predictions import (
    PredictionError,
    PredictionFile,
    PredictionHeader,
    as_written,
    load_predictions,
)
from refkit.metrics.protocol import Evaluation, Protocol, get_protocol
from refkit.structures import Prediction

PredictionSource = str | os.PathLike[str] | PredictionFile | tuple[PredictionHeader, Mapping[str, Prediction]]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What a protocol says about a prediction file, sample by sample, before anything is summed up.

    Attributes:
        protocol: what was computed.
        truth: the records, read to their end.
        header: of the predictions.
        path: of the prediction file; empty when the predictions never were a file.
        pairing: ids, images and coverage.
        evaluation: the metrics of every sample.
        samples: what breakdowns need; None where nobody asked.
    """

    protocol: Protocol
    truth: Truth
    header: PredictionHeader
    path: str
    pairing: Pairing
    evaluation: Evaluation
    samples: Samples | None


def evaluate(
    records: RecordSource,
    predictions: PredictionSource,
    protocol: str = "rec/1",
    *,
    allow_partial: bool = False,
    facts: Sequence[str] | None = None,
) -> Scored:
    """Read both sides strictly and evaluate every sample; errors as for `refkit.leaderboard.scoring.score`.

    Args:
        records: a records file, or its header with the records.
        predictions: a prediction file, or its header with predictions by id.
        protocol: id of the protocol.
        allow_partial: leave unanswered records out.
        facts: gather what breakdowns need, and these facts of the records.
    """
    chosen = get_protocol(protocol)
    samples = None if facts is None else Samples(facts)
    with collection_paused():
        answers = _load_answers(predictions)
        truth = Truth(records)
        truth.check_header(answers, chosen)
        pairing = Pairing(truth, answers, samples, allow_partial)
        evaluation = chosen.evaluate(iter(pairing))
    truth.check_found_digest(answers, chosen)
    pairing.finish()
    return Scored(chosen, truth, answers.header, answers.path, pairing, evaluation, samples)


@contextmanager
def collection_paused() -> Iterator[None]:
    """Without the search for cycles: millions of small objects are made here, none of them in a cycle."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


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
    return source if isinstance(source, PredictionFile) else load_predictions(source)
