"""The trivial predictors of `refkit.metrics.baselines`, scored like any other method."""

from __future__ import annotations

import os
from collections.abc import Sequence

from refkit.data.records import read_records
from refkit.leaderboard.predictions import PredictionHeader
from refkit.leaderboard.result import Result
from refkit.leaderboard.scoring import DRAWS, score
from refkit.metrics.baselines import baseline_predictions, usable_baselines


def score_baselines(
    records: str | os.PathLike[str],
    protocol: str = "rec/1",
    by: str | Sequence[str] = (),
    draws: int = DRAWS,
    seed: int = 0,
    objects: str | os.PathLike[str] | None = None,
) -> dict[str, Result]:
    """Every baseline that works on these records, by name.

    Args:
        records: a records file.
        protocol: id of a protocol over boxes.
        by: breakdowns, as for `score`.
        draws: of the image bootstrap.
        seed: of the image bootstrap and of *random object*.
        objects: all annotated objects of the pictures, as for `score`.
    """
    header, truth = read_records(records)
    results = {}
    for name in usable_baselines(truth[0]) if truth else ():
        answers = {prediction.id: prediction for prediction in baseline_predictions(name, truth, seed)}
        answering = PredictionHeader.answering(header, name)
        results[name] = score(
            (header, truth), (answering, answers), protocol, by=by, draws=draws, seed=seed, objects=objects
        )
    return results
