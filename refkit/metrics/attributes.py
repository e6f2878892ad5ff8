"""Attributes of given boxes (OVAD, box oracle): mean average precision over attributes.

Source: §2.8 of the evaluation specification. Notation: ``n`` boxes, ``a`` attributes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from refkit.metrics.average_precision import RankedLabels
from refkit.metrics.drawn_precision import DrawnSteps, mean_over_parts
from refkit.metrics.protocol import Corpus, Evaluation, Protocol, ProtocolError, register

if TYPE_CHECKING:
    from refkit.data.records import Record
    from refkit.structures import Prediction

Floats = NDArray[np.float64]

FREQUENCIES = ("head", "medium", "tail")
GROUPS_FACT = "attribute_groups"
TEXT = """\
attributes/box: attributes of given boxes (OVAD, box oracle). Per attribute, average precision over all boxes
that are labelled 1 or 0 for it; unlabelled ones are left out. Average precision = sum of precision times gain
in recall down the falling scores, equal scores at once, no interpolation. Scores are clipped to 0..1; a
missing answer and an attribute that an answer does not name score 0. Attributes without a positive are
skipped. mAP = mean over attributes, over all and within the frequency groups (head, medium, tail) that the
records state as facts.attribute_groups."""


class Labels:
    """Labels and scores by attribute, collected box by box."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[list[int], list[bool], list[float]]] = {}
        self.groups: dict[str, str] = {}
        self.named: set[str] = set()
        self.n = 0

    def add(self, record: Record, prediction: Prediction | None) -> None:
        """One box.

        Raises:
            ProtocolError: no labels, or an attribute in two frequency groups.
        """
        if record.labels is None:
            raise ProtocolError(f"record {record.id!r} has no labels; attributes/box scores labelled boxes")
        self._take_groups(record)
        scores = usable_scores(prediction) or {}
        self.named.update(scores)
        for name, label in record.labels.items():
            samples, positive, values = self._rows.setdefault(name, ([], [], []))
            samples.append(self.n)
            positive.append(label == 1)
            values.append(min(max(scores.get(name, 0.0), 0.0), 1.0))
        self.n += 1

    def ranked(self) -> dict[str, RankedLabels]:
        """The sorted labels of every attribute, by name."""
        return {
            name: RankedLabels.of(np.array(scores), np.array(positive, bool), np.array(samples, np.int64))
            for name, (samples, positive, scores) in sorted(self._rows.items())
        }

    def _take_groups(self, record: Record) -> None:
        groups = (record.facts or {}).get(GROUPS_FACT) or {}
        for name, group in groups.items():
            if group not in FREQUENCIES or self.groups.setdefault(name, group) != group:
                raise ProtocolError(
                    f"record {record.id!r}: facts.{GROUPS_FACT}.{name}: {group!r}, expected one of "
                    f"{', '.join(FREQUENCIES)}, and the same in every record"
                )


def usable_scores(prediction: Prediction | None) -> Mapping[str, float] | None:
    """The attribute scores of an answer; None where there are none."""
    if prediction is None or prediction.status != "ok":
        return None
    return prediction.attributes


def mean_average_precision(ranked: Iterable[RankedLabels], n: int) -> Corpus:
    """Mean of the average precisions of attributes; NaN when none has a positive.

    Args:
        ranked: the sorted labels of each attribute.
        n: number of boxes.
    """
    attributes = list(ranked)

    def weighted(counts: Floats) -> float:
        values = [one.average_precision(counts) for one in attributes]
        found = [value for value in values if not math.isnan(value)]
        return math.fsum(found) / len(found) if found else math.nan

    return Corpus(n, weighted, part=mean_over_parts([DrawnSteps(one, n) for one in attributes]))


def evaluate(pairs: Iterable[tuple[Record, Prediction | None]]) -> Evaluation:
    """`attributes/box` over records and predictions."""
    labels, invalid = Labels(), []
    for record, prediction in pairs:
        labels.add(record, prediction)
        invalid.append(prediction is not None and usable_scores(prediction) is None)
    ranked = labels.ranked()
    columns = {"map": mean_average_precision(ranked.values(), labels.n)}
    for group in FREQUENCIES:
        members = [one for name, one in ranked.items() if labels.groups.get(name) == group]
        columns[f"map_{group}"] = mean_average_precision(members, labels.n)
    once = np.ones(labels.n)
    values = {name: one.average_precision(once) for name, one in ranked.items()}
    return Evaluation(
        columns,
        np.array(invalid, bool),
        details={"average precision": values} if values else {},
        warnings=_warnings(labels.named, set(ranked)),
    )


def _warnings(named: set[str], labelled: set[str]) -> tuple[str, ...]:
    """Names that do not meet are most often a matter of spelling, and would cost points without a word."""
    foreign, silent = sorted(named - labelled), sorted(labelled - named)
    if not named:
        return ()
    warnings = []
    if foreign:
        warnings.append(f"{len(foreign)} predicted attributes are labelled nowhere, such as {foreign[0]!r}")
    if silent:
        warnings.append(
            f"{len(silent)} of {len(labelled)} attributes are never predicted, such as {silent[0]!r}"
        )
    return tuple(warnings)


register(
    Protocol(
        id="attributes/box",
        text=TEXT,
        evaluate=evaluate,
        labels={"map": "mAP"} | {f"map_{group}": f"mAP, {group}" for group in FREQUENCIES},
        task="attributes",
        answer="attributes",
    )
)
