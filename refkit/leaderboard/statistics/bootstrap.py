"""Intervals for metrics over samples that share images: the image is the unit that was drawn, so it is
resampled.

Notation: ``n`` samples, ``k`` clusters (images), ``g`` groups of samples, ``s`` sums, ``d`` draws. Source:
§2.11 of the evaluation specification, after Efron and Tibshirani 1993, chapter 13 (percentile interval).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from refkit.metrics.protocol import Column, Corpus, Resampler, ratio

Floats = NDArray[np.float64]
Interval = tuple[float, float]

BAR: dict[str, Any] = {"unit": " draws", "delay": 2.0, "disable": None, "leave": False}

CHUNK_ELEMENTS = 4_000_000
AT_ONCE = 100
INTERVAL_DECIMALS = 6
# Single precision adds integers exactly below 2**24; a draw may repeat a heavy image, hence the reserve.
EXACT_IN_SINGLE = 2**24 / 16


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Where each sample is counted: one cell per image and group.

    Attributes:
        numbers: ``(n,)`` of the cell; samples of no group have the last one of their image.
        groups: ``g``.
    """

    numbers: NDArray[np.int64]
    groups: int


class Resampling:
    """How often each image is drawn in each draw; the same draws for everything that is asked."""

    def __init__(self, clusters: NDArray[np.int64], draws: int = 2000, seed: int = 0) -> None:
        """Fix the draws.

        Args:
            clusters: ``(n,)`` number of the image of each sample, 0 … k-1.
            draws: how many resamples; 2,000 to look at, 10,000 to publish.
            seed: of the draws.
        """
        self._clusters = clusters
        self.n = len(clusters)
        self.k = int(clusters.max()) + 1 if len(clusters) else 0
        self.draws = draws
        self._seed = seed

    def sums(self, values: NDArray) -> Floats:
        """``(k,)`` sum of ``(n,)`` values per image."""
        return np.asarray(np.bincount(self._clusters, weights=values, minlength=self.k), np.float64)

    def cells(self, codes: NDArray[np.int64], groups: int) -> Cells:
        """The cells of ``g`` groups; ``codes`` is ``(n,)``, -1 for no group."""
        return Cells(np.where(codes < 0, groups, codes) + self._clusters * (groups + 1), groups)

    def group_sums(self, values: NDArray, cells: Cells) -> Floats:
        """``(k, g)`` sum of ``(n,)`` values per image and group."""
        table = np.bincount(cells.numbers, weights=values, minlength=self.k * (cells.groups + 1))
        return np.asarray(table.reshape(self.k, cells.groups + 1)[:, : cells.groups], np.float64)

    def resampled(self, sums: Floats) -> Floats:
        """``(d, s)`` of ``(k, s)`` sums per image: one matrix product with "how often was each image drawn".

        Counts are multiplied in single precision, twice as fast, wherever that is exact.
        """
        small = np.abs(sums).sum(axis=0) < EXACT_IN_SINGLE
        single = small & (sums == np.rint(sums)).all(axis=0)
        halves: list[tuple[NDArray[np.bool_], NDArray]] = [
            (single, sums[:, single].astype(np.float32)),
            (~single, sums[:, ~single]),
        ]
        result = np.empty((self.draws, sums.shape[1]))
        rng = np.random.default_rng(self._seed)
        chunk = max(1, CHUNK_ELEMENTS // self.k)
        for start in range(0, self.draws, chunk):
            rows = min(chunk, self.draws - start)
            times = self._times(rows, rng)
            for chosen, half in halves:
                if half.shape[1]:
                    result[start : start + rows, chosen] = times.astype(half.dtype) @ half
        return result

    def drawn(self, resampler: Resampler, members: NDArray[np.int64], bar: tqdm) -> Floats:
        """``(d,)`` values of a metric over some samples, which count as often as their image was drawn.

        Args:
            resampler: the metric over the samples ``members``.
            members: ``(m,)`` their numbers.
            bar: is moved on by each draw.
        """
        values, images = np.empty(self.draws), self._clusters[members]
        for start in range(0, self.draws, AT_ONCE):
            times = self._times_of_all[:, start : start + AT_ONCE]
            values[start : start + AT_ONCE] = resampler(times[images].astype(np.float64))
            bar.update(times.shape[1])
        return values

    def images(self, members: NDArray[np.int64]) -> int:
        """Of how many images some samples are."""
        return len(np.unique(self._clusters[members]))

    @cached_property
    def _times_of_all(self) -> NDArray[np.uint8]:
        """``(k, d)`` how often each image was drawn; 256 times has no measurable probability."""
        rng = np.random.default_rng(self._seed)
        table = np.empty((self.k, self.draws), np.uint8)
        for draw in range(self.draws):
            table[:, draw] = self._times(1, rng)[0]
        return table

    def _times(self, rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
        drawn = rng.integers(0, self.k, size=(rows, self.k)) + np.arange(rows)[:, None] * self.k
        return np.bincount(drawn.ravel(), minlength=rows * self.k).reshape(rows, self.k)


@dataclass(frozen=True, slots=True, eq=False)
class _OfDraws:
    """A metric that is computed from how often each sample counts."""

    metric: Corpus
    members: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _OfSums:
    """A metric that is a function of sums over images.

    Attributes:
        places: of its sums among all that are resampled.
        combine: from ``(d, s)`` sums to ``(d,)`` values; NaN in draws that leave nothing.
    """

    places: Sequence[int]
    combine: Callable[[Floats], Floats]


class ImageBootstrap:
    """Percentile intervals under resampling of whole images; all metrics share the draws.

    Metrics are added one by one and reduced to their sums per image at once, so that many subgroups of many
    samples fit into memory.
    """

    def __init__(
        self, clusters: NDArray[np.int64], draws: int = 2000, seed: int = 0, level: float = 0.95
    ) -> None:
        """Fix the resampling.

        Args:
            clusters: ``(n,)`` number of the image of each sample, 0 … k-1.
            draws: how many resamples; 2,000 to look at, 10,000 to publish.
            seed: of the draws.
            level: share of the draws inside an interval.
        """
        self._resampling = Resampling(clusters, draws, seed)
        self._tail = (1 - level) / 2
        self._columns: list[Floats] = []
        self._metrics: list[_OfSums | _OfDraws] = []
        self._known: dict[bytes, int] = {}

    def add(self, metric: Column | Corpus) -> int:
        """Take a metric over the ``n`` samples.

        Returns:
            Its place in `intervals`.
        """
        return self.add_groups(metric, np.zeros(self._resampling.n, np.int64), 1)

    def add_groups(self, metric: Column | Corpus, codes: NDArray[np.int64], groups: int) -> int:
        """Take a metric over the samples of each group.

        Args:
            metric: over the ``n`` samples.
            codes: ``(n,)`` group of each sample, 0 … g-1; -1 for none.
            groups: ``g``.

        Returns:
            Place of the first group in `intervals`; the others follow.
        """
        if isinstance(metric, Corpus) and (metric.sums is None or metric.combine is None):
            place = len(self._metrics)
            self._metrics += [_OfDraws(metric, np.flatnonzero(codes == group)) for group in range(groups)]
            return place
        cells = self.cells(codes, groups)
        if isinstance(metric, Column):
            sides = (metric.numerator, metric.denominator)
            return self.add_tables([self.group_sums(one, cells) for one in sides], ratio_of_sums)
        assert metric.sums is not None and metric.combine is not None
        return self.add_tables(
            [self.group_sums(one, cells) for one in metric.sums.T], _where_any(metric.combine)
        )

    def cells(self, codes: NDArray[np.int64], groups: int) -> Cells:
        """Where samples of ``g`` groups are counted; ``codes`` is the group of each, -1 for none."""
        return self._resampling.cells(codes, groups)

    def group_sums(self, values: NDArray, cells: Cells) -> Floats:
        """``(k, g)`` sums of ``(n,)`` values."""
        return self._resampling.group_sums(values, cells)

    def add_tables(self, tables: Sequence[Floats], combine: Callable[[Floats], Floats]) -> int:
        """Take a metric over the samples of each group, summed already.

        Args:
            tables: ``s`` times ``(k, g)``, see `group_sums`.
            combine: from ``(d, s)`` sums to ``(d,)`` values; NaN in draws that leave nothing.

        Returns:
            Place of the first group in `intervals`; the others follow.
        """
        place = len(self._metrics)
        for columns in zip(*(table.T for table in tables), strict=True):
            self._metrics.append(_OfSums([self._place(one) for one in columns], combine))
        return place

    def intervals(self) -> list[Interval | None]:
        """(low, high) of each metric; None where fewer than two images contribute.

        The ends are rounded to six decimals, far below the noise of the draws, so that they do not depend on
        how a linear algebra library splits its sums.
        """
        resampling = self._resampling
        if not self._metrics or not resampling.draws or not resampling.k:
            return [None] * len(self._metrics)
        sums = np.stack(self._columns).T if self._columns else np.zeros((resampling.k, 0))
        resampled = resampling.resampled(sums)
        slow = sum(isinstance(metric, _OfDraws) for metric in self._metrics)
        with tqdm(total=slow * resampling.draws, desc="bootstrap", **BAR) as bar:
            return [
                self._interval_of_draws(metric, bar)
                if isinstance(metric, _OfDraws)
                else self._interval_of_sums(metric, sums, resampled)
                for metric in self._metrics
            ]

    def _interval_of_draws(self, metric: _OfDraws, bar: tqdm) -> Interval | None:
        if self._resampling.images(metric.members) < 2:
            return None
        resampler = metric.metric.resampler(metric.members)
        return percentiles(self._resampling.drawn(resampler, metric.members, bar), self._tail)

    def _interval_of_sums(self, metric: _OfSums, sums: Floats, resampled: Floats) -> Interval | None:
        if np.count_nonzero(np.any([sums[:, place] for place in metric.places], axis=0)) < 2:
            return None
        return percentiles(metric.combine(resampled[:, metric.places]), self._tail)

    def _place(self, sums: Floats) -> int:
        """Sums that were met before (the denominators of all means of a group) are resampled once."""
        key = sums.tobytes()
        place = self._known.setdefault(key, len(self._columns))
        if place == len(self._columns):
            self._columns.append(np.ascontiguousarray(sums))
        return place


def ratio_of_sums(sums: Floats) -> Floats:
    """``(d,)`` of ``(d, 2)``: the first over the second."""
    return ratio(sums[:, 0], sums[:, 1])


def _where_any(combine: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    """The same with NaN in draws that missed the group."""
    return lambda sums: np.where(sums.any(axis=1), combine(sums), np.nan)


def percentiles(values: Floats, tail: float) -> Interval | None:
    """The middle of ``(d,)`` draws, without those that are NaN; None where all are."""
    drawn = values[~np.isnan(values)]
    if not len(drawn):
        return None
    low, high = np.quantile(drawn, (tail, 1 - tail))
    return round(float(low), INTERVAL_DECIMALS), round(float(high), INTERVAL_DECIMALS)


def stacked_sums(resampling: Resampling, arrays: Sequence[NDArray]) -> Floats:
    """``(k, s)`` sums per image of several ``(n,)`` arrays."""
    return np.stack([resampling.sums(values) for values in arrays], axis=1)
