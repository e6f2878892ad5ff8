"""Metrics within groups: values now, intervals from the draws that all metrics share.

Notation: ``n`` samples, ``k`` images, ``g`` groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from refkit.leaderboard.breakdowns.partitions import Partition
from refkit.leaderboard.result import Cell, Metric
from refkit.leaderboard.statistics import ImageBootstrap
from refkit.leaderboard.statistics.bootstrap import ratio_of_sums
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
        places: by metric, where the intervals of the groups start.
    """

    labels: Sequence[str]
    counts: Sequence[int]
    values: Mapping[str, Sequence[float]]
    places: Mapping[str, int]

    def finish(self, intervals: Sequence[Interval | None]) -> dict[str, Cell]:
        """Cells by label."""
        return {
            label: Cell(
                self.counts[group],
                {
                    name: Metric(values[group], intervals[place + group])
                    for (name, values), place in zip(self.values.items(), self.places.values(), strict=True)
                },
            )
            for group, label in enumerate(self.labels)
        }


def pending_cells(columns: Columns, partition: Partition, bootstrap: ImageBootstrap) -> PendingCells:
    """All metrics within the groups of a breakdown."""
    groups, codes = len(partition.labels), partition.codes
    sums = _GroupSums(codes, groups, bootstrap)
    values: dict[str, Sequence[float]] = {}
    places: dict[str, int] = {}
    for name, column in columns.items():
        if isinstance(column, Corpus):
            values[name] = [column.within(codes == group).value for group in range(groups)]
            places[name] = bootstrap.add_groups(column, codes, groups)
        else:
            (above, tops), (below, bottoms) = map(
                sums.of, (column.numerator, column.denominator), column.whole
            )
            values[name] = [
                top / bottom if bottom else math.nan for top, bottom in zip(tops, bottoms, strict=True)
            ]
            places[name] = bootstrap.add_tables([above, below], ratio_of_sums)
    counts = np.bincount(codes[codes >= 0], minlength=groups)
    return PendingCells(partition.labels, counts.tolist(), values, places)


class _GroupSums:
    """Sums of arrays within groups; an array that several metrics share is summed once."""

    def __init__(self, codes: NDArray[np.int64], groups: int, bootstrap: ImageBootstrap) -> None:
        self._codes, self._groups, self._bootstrap = codes, groups, bootstrap
        self._cells = bootstrap.cells(codes, groups)
        self._known: dict[int, tuple[Floats, list[float]]] = {}

    def of(self, values: Floats, whole: bool) -> tuple[Floats, list[float]]:
        """``(k, g)`` sums of ``(n,)`` values per image and group, and ``g`` exact sums per group."""
        if id(values) not in self._known:
            table = self._bootstrap.group_sums(values, self._cells)
            # whole numbers add up exactly in any order
            exact = table.sum(axis=0).tolist() if whole else self._exact(values)
            self._known[id(values)] = table, exact
        return self._known[id(values)]

    def _exact(self, values: Floats) -> list[float]:
        order, edges = self._sorted
        ordered = values[order]
        return [math.fsum(ordered[low:high].tolist()) for low, high in pairwise(edges)]

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int64], list[int]]:
        """``(n,)`` samples by group, and where each group begins among them."""
        # of small integers, numpy's stable sort is a radix sort
        codes = self._codes.astype(np.int16) if self._groups < np.iinfo(np.int16).max else self._codes
        order = np.argsort(codes, kind="stable")
        return order, np.searchsorted(codes[order], np.arange(self._groups + 1)).tolist()
