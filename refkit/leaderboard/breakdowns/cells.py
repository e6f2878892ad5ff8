"""Metrics within groups: values now, intervals from the draws that all metrics share.

Notation: ``n`` samples, ``k`` images, ``g`` groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from refkit.leaderboard.breakdowns.partitions import Partition
from refkit.leaderboard.result import Cell, Metric
from refkit.leaderboard.statistics import ImageBootstrap
from refkit.metrics.protocol import Column, Corpus

Floats = NDArray[np.float64]
Interval = tuple[float, float]
Columns = Mapping[str, Column | Corpus]


@dataclass(frozen=True, slots=True)
class PendingCells:
    """The cells of one breakdown before the draws: `finish` puts the intervals in.

    Attributes:
        labels: of the groups.
        counts: samples per group.
        values: by metric, one per group.
        places: by metric, where the intervals of the groups start; None for a metric without intervals.
    """

    labels: Sequence[str]
    counts: Sequence[int]
    values: Mapping[str, Sequence[float]]
    places: Mapping[str, int | None]

    def finish(self, intervals: Sequence[Interval | None]) -> dict[str, Cell]:
        """Cells by label."""
        return {
            label: Cell(
                self.counts[group],
                {
                    name: Metric(values[group], None if place is None else intervals[place + group])
                    for (name, values), place in zip(self.values.items(), self.places.values(), strict=True)
                },
            )
            for group, label in enumerate(self.labels)
        }


def pending_cells(columns: Columns, partition: Partition, bootstrap: ImageBootstrap) -> PendingCells:
    """All metrics within the groups of a breakdown.

    A `Corpus` metric has a value in every group but no interval: it would have to be computed again for
    every draw and group.
    """
    groups, codes = len(partition.labels), partition.codes
    values: dict[str, Sequence[float]] = {}
    places: dict[str, int | None] = {}
    for name, column in columns.items():
        if isinstance(column, Corpus):
            values[name] = [column.within(codes == group).value for group in range(groups)]
            places[name] = None
        else:
            values[name] = group_values(column, codes, groups)
            places[name] = bootstrap.add_groups(column, codes, groups)
    counts = np.bincount(codes[codes >= 0], minlength=groups)
    return PendingCells(partition.labels, counts.tolist(), values, places)


def group_values(column: Column, codes: NDArray[np.int64], groups: int) -> list[float]:
    """``g`` values of a metric; the sums are exact, so the order of the samples does not matter."""
    sides = zip((column.numerator, column.denominator), column.whole, strict=True)
    above, below = (_exact_sums(values, whole, codes, groups) for values, whole in sides)
    return [top / bottom if bottom else math.nan for top, bottom in zip(above, below, strict=True)]


def _exact_sums(values: Floats, whole: bool, codes: NDArray[np.int64], groups: int) -> list[float]:
    """Whole numbers add up exactly as they are; others through `math.fsum`."""
    if whole:
        # code -1, no group, is counted in front
        return np.bincount(codes + 1, weights=values, minlength=groups + 1)[1:].tolist()
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(groups + 1))
    ordered = values[order]
    return [math.fsum(ordered[low:high].tolist()) for low, high in pairwise(edges.tolist())]
