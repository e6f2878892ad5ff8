"""Two methods on the same records: differences with intervals and p values, and the samples that changed
sides.

Notation: ``n`` samples. Source: §2.11 of the evaluation specification.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refkit.leaderboard.breakdowns.analysis import hit_column
from refkit.leaderboard.evaluation import PredictionSource, Scored, evaluate
from refkit.leaderboard.pairing import RecordSource
from refkit.leaderboard.scoring import DRAWS, warnings_of
from refkit.leaderboard.statistics import McNemar, PairedBootstrap, PairedDifference, holm, mcnemar_exact
from refkit.metrics.protocol import Column, Corpus, Protocol
from refkit.version import __version__

FORMAT = "refkit.comparison/1"
LEVEL = 0.05


class ComparisonError(ValueError):
    """Two scores that cannot be compared sample by sample."""


@dataclass(frozen=True, slots=True)
class MetricTest:
    """Whether two methods differ in one metric.

    Attributes:
        difference: both values, their difference, its interval and p by paired image bootstrap.
        mcnemar: the exact test, for metrics that are shares of hits; else None.
        p_holm: the p value adjusted over all record sets that are compared at once.
    """

    difference: PairedDifference
    mcnemar: McNemar | None
    p_holm: float | None = None

    @property
    def p(self) -> float | None:
        """Of the exact test where there is one, else of the bootstrap."""
        return self.mcnemar.p if self.mcnemar else self.difference.p

    def to_json(self) -> dict[str, Any]:
        """The test as a JSON object."""
        found = self.difference
        fields: dict[str, Any] = {
            "a": _number(found.a),
            "b": _number(found.b),
            "difference": _number(found.difference),
            "interval": found.interval and [_number(end) for end in found.interval],
            "p_bootstrap": found.p,
        }
        if self.mcnemar:
            only = {"only_a": self.mcnemar.only_a, "only_b": self.mcnemar.only_b}
            fields |= {"mcnemar": only | {"p": self.mcnemar.p}}
        return fields | {"p_holm": self.p_holm}


@dataclass(frozen=True, slots=True)
class Changed:
    """A sample that only one of two methods hits.

    Attributes:
        id: of the record.
        iou: of both methods; None where the protocol knows no IoU per sample.
    """

    id: str
    iou: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """The sample as a JSON object."""
        return {"id": self.id} | ({"iou": list(self.iou)} if self.iou else {})


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two prediction files on one set of records.

    Attributes:
        protocol: under which both were scored.
        records: name of the records.
        records_digest: their digest.
        models: names of both methods.
        n: samples.
        answered: how many of them each method has answered; the others count as wrong.
        images: of these samples.
        tests: by metric.
        hit_metric: the metric that decides which samples changed sides; empty without one.
        only_a: samples that only the first method hits, in the order of the records.
        only_b: samples that only the second method hits.
        draws: of the bootstrap.
        seed: of the bootstrap.
        warnings: sentences for the reader, of the score of each method.
    """

    protocol: Protocol
    records: str
    records_digest: str
    models: tuple[str, str]
    n: int
    answered: tuple[int, int]
    images: int
    tests: Mapping[str, MetricTest]
    hit_metric: str
    only_a: Sequence[Changed]
    only_b: Sequence[Changed]
    draws: int
    seed: int
    warnings: tuple[Sequence[str], Sequence[str]]

    def to_json(self) -> dict[str, Any]:
        """The comparison as a JSON object."""
        return {
            "records": self.records,
            "records_digest": self.records_digest,
            "models": {"a": self.models[0], "b": self.models[1]},
            "n": self.n,
            "answered": {"a": self.answered[0], "b": self.answered[1]},
            "images": self.images,
            "metrics": {name: test.to_json() for name, test in self.tests.items()},
            "changed": {
                "metric": self.hit_metric,
                "only_a": [one.to_json() for one in self.only_a],
                "only_b": [one.to_json() for one in self.only_b],
            },
            "warnings": {"a": list(self.warnings[0]), "b": list(self.warnings[1])},
        }


@dataclass(frozen=True, slots=True)
class Pair:
    """What is compared: records and the answers of two methods."""

    records: RecordSource
    a: PredictionSource
    b: PredictionSource


def compare(
    pairs: Sequence[Pair], protocol: str = "rec/1", *, draws: int = DRAWS, seed: int = 0
) -> list[Comparison]:
    """Compare two methods on one or several sets of records.

    Shares of hits are tested by the exact McNemar test, everything else by the paired image bootstrap; over
    several sets the p values of each metric are adjusted by Holm's method.

    Args:
        pairs: one per set of records.
        protocol: id of the protocol, the same for all.
        draws: of the paired image bootstrap.
        seed: of the paired image bootstrap.

    Returns:
        One comparison per pair, in the same order.

    Raises:
        ComparisonError: the same records twice, or a metric that only one of the two scores has.
        ScoringError: predictions that do not belong to the records; all other errors as for `score`.
    """
    found = [_compare_one(pair, protocol, draws, seed) for pair in pairs]
    names = [one.records_digest for one in found]
    double = next((one.records for one in found if names.count(one.records_digest) > 1), None)
    if double:
        raise ComparisonError(
            f"{double} stands twice among the records; each set counts once in the correction over sets"
        )
    return _adjusted(found)


def to_json(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Comparisons of one call as a JSON object; equal inputs give equal bytes."""
    first = comparisons[0]
    return {
        "format": FORMAT,
        "protocol": {"id": first.protocol.id, "text": first.protocol.text},
        "interval": {
            "level": 0.95,
            "method": "percentile bootstrap over images, paired",
            "draws": first.draws,
            "seed": first.seed,
        },
        "correction": f"Holm over {len(comparisons)} sets of records",
        "comparisons": [one.to_json() for one in comparisons],
        "refkit": __version__,
    }


def _compare_one(pair: Pair, protocol: str, draws: int, seed: int) -> Comparison:
    a = evaluate(pair.records, pair.a, protocol)
    b = evaluate(pair.records, pair.b, protocol)
    clusters = a.pairing.clusters()
    bootstrap = PairedBootstrap(clusters, draws, seed)
    tests = {name: _test(bootstrap, *columns) for name, columns in _common_columns(a, b).items()}
    metric, only_a, only_b = _changed(a, b)
    header = a.truth.header
    return Comparison(
        protocol=a.protocol,
        records=header.name,
        records_digest=header.digest_masks if a.protocol.with_masks else header.digest,
        models=(a.header.model, b.header.model),
        n=len(a.pairing.ids),
        answered=(sum(a.pairing.answered), sum(b.pairing.answered)),
        images=len(a.pairing.images()),
        tests=tests,
        hit_metric=metric,
        only_a=only_a,
        only_b=only_b,
        draws=draws,
        seed=seed,
        warnings=(warnings_of(a), warnings_of(b)),
    )


def _common_columns(a: Scored, b: Scored) -> dict[str, tuple[Column | Corpus, Column | Corpus]]:
    ours, theirs = a.evaluation.columns, b.evaluation.columns
    different = set(ours) ^ set(theirs)
    if different:
        raise ComparisonError(
            f"only one of the two scores has {', '.join(sorted(different))}; "
            "score both on a machine that can compute it"
        )
    return {name: (column, theirs[name]) for name, column in ours.items()}


def _test(bootstrap: PairedBootstrap, a: Column | Corpus, b: Column | Corpus) -> MetricTest:
    if isinstance(a, Corpus) and isinstance(b, Corpus):
        return MetricTest(bootstrap.corpus(a, b), None)
    assert isinstance(a, Column) and isinstance(b, Column)
    hits_a, hits_b = _hits(a), _hits(b)
    exact = mcnemar_exact(hits_a, hits_b) if hits_a is not None and hits_b is not None else None
    return MetricTest(bootstrap.ratio(a, b), exact)


def _hits(column: Column | Corpus) -> NDArray[np.bool_] | None:
    """``(n,)`` where every sample counts one and is right or wrong."""
    found = hit_column({"": column})
    return None if found is None else found[1].numerator == 1


def _changed(a: Scored, b: Scored) -> tuple[str, list[Changed], list[Changed]]:
    """The metric of hits that stands first, and the samples that only one of the two hits."""
    for name, column in a.evaluation.columns.items():
        ours, theirs = _hits(column), _hits(b.evaluation.columns[name])
        if ours is not None and theirs is not None:
            sides = (np.flatnonzero(ours & ~theirs), np.flatnonzero(theirs & ~ours))
            only_a, only_b = ([_sample(a, b, int(row)) for row in rows] for rows in sides)
            return name, only_a, only_b
    return "", [], []


def _sample(a: Scored, b: Scored, row: int) -> Changed:
    values = [scored.evaluation.per_sample.get("iou") for scored in (a, b)]
    both = values[0] is not None and values[1] is not None
    iou = (float(values[0][row]), float(values[1][row])) if both else None  # type: ignore[index]
    return Changed(a.pairing.ids[row], iou)


def _adjusted(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Holm's correction per metric over the sets of records that have a p value of it."""
    tests = [dict(one.tests) for one in comparisons]
    for name in {name for one in tests for name in one}:
        family = [one for one in tests if name in one and one[name].p is not None]
        for one, p in zip(family, holm([float(one[name].p or 0.0) for one in family]), strict=True):
            one[name] = replace(one[name], p_holm=p)
    return [replace(one, tests=adjusted) for one, adjusted in zip(comparisons, tests, strict=True)]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
