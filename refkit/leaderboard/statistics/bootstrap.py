"""Intervals for metrics over samples that share images: the image is the unit that was drawn, so it is
resampled.

Notation: ``n`` samples, ``k`` clusters (images), ``g`` groups of samples, ``s`` sums, ``d`` draws. Source:
§2.11 of the evaluation specification, after Efron and Tibshirani 1993, chapter 13 (percentile interval).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from refkit.metrics.protocol import Column, Corpus

Floats = NDArray[np.float64]
Interval = tuple[float, float]

BAR: dict[str, Any] = {"unit": " draws", "delay": 2.0, "disable": None, "leave": False}

CHUNK_ELEMENTS = 4_000_000
INTERVAL_DECIMALS = 6
# Single precision adds integers exactly below 2**24; a draw may repeat a heavy image, hence the reserve.
EXACT_IN_SINGLE = 2**24 / 16


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
        self.k = int(clusters.max()) + 1 if len(clusters) else 0
        self.draws = draws
        self._seed = seed

    def sums(self, values: NDArray) -> Floats:
        """``(k,)`` sum of ``(n,)`` values per image."""
        return np.asarray(np.bincount(self._clusters, weights=values, minlength=self.k), np.float64)

    def group_sums(self, values: NDArray, codes: NDArray[np.int64], groups: int) -> Floats:
        """``(k, g)`` sum of ``(n,)`` values per image and group; ``codes`` is ``(n,)``, -1 for no group."""
        cells = np.where(codes < 0, groups, codes) + self._clusters * (groups + 1)
        table = np.bincount(cells, weights=values, minlength=self.k * (groups + 1))
        return np.asarray(table.reshape(self.k, groups + 1)[:, :groups], np.float64)

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

    def sample_counts(self) -> Iterator[Floats]:
        """How often each of the ``n`` samples counts, draw by draw: as often as its image was drawn."""
        rng = np.random.default_rng(self._seed)
        for _ in tqdm(range(self.draws), "bootstrap", **BAR):
            yield self._times(1, rng)[0][self._clusters].astype(np.float64)

    def _times(self, rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
        drawn = rng.integers(0, self.k, size=(rows, self.k)) + np.arange(rows)[:, None] * self.k
        return np.bincount(drawn.ravel(), minlength=rows * self.k).reshape(rows, self.k)


class ImageBootstrap:
    """Percentile intervals of ratios of sums under resampling of whole images; all metrics share the draws.

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
        self._ratios: list[tuple[int, int] | Corpus] = []
        self._known: dict[bytes, int] = {}

    def add(self, column: Column | Corpus) -> int:
        """Take a metric over the ``n`` samples.

        Returns:
            Its place in `intervals`.
        """
        if isinstance(column, Corpus):
            self._ratios.append(column)
            return len(self._ratios) - 1
        above = self._resampling.sums(column.numerator)[:, None]
        return self._take(above, self._resampling.sums(column.denominator)[:, None])

    def group_sums(self, values: NDArray, codes: NDArray[np.int64], groups: int) -> Floats:
        """``(k, g)`` sums of ``(n,)`` values; ``codes`` is the group of each sample, -1 for none."""
        return self._resampling.group_sums(values, codes, groups)

    def add_table(self, above: Floats, below: Floats) -> int:
        """Take a metric over the samples of each group.

        Args:
            above: ``(k, g)`` sums of its numerator, see `group_sums`.
            below: ``(k, g)`` sums of its denominator.

        Returns:
            Place of the first group in `intervals`; the others follow.
        """
        return self._take(above, below)

    def intervals(self) -> list[Interval | None]:
        """(low, high) of each metric; None where fewer than two images contribute.

        The ends are rounded to six decimals, far below the noise of the draws, so that they do not depend on
        how a linear algebra library splits its sums.
        """
        resampling = self._resampling
        if not self._ratios or not resampling.draws or not resampling.k:
            return [None] * len(self._ratios)
        corpora = self._corpus_draws()
        sums = np.stack(self._columns, axis=1) if self._columns else np.zeros((resampling.k, 0))
        images, resampled = np.count_nonzero(sums, axis=0), resampling.resampled(sums)
        found: list[Interval | None] = []
        for metric in self._ratios:
            if isinstance(metric, Corpus):
                found.append(percentiles(next(corpora), self._tail) if resampling.k > 1 else None)
            elif images[metric[1]] > 1:
                above, below = metric
                found.append(percentiles(ratio(resampled[:, above], resampled[:, below]), self._tail))
            else:
                found.append(None)
        return found

    def _corpus_draws(self) -> Iterator[Floats]:
        """``(d,)`` values of each metric that is no ratio of sums, computed again for every draw."""
        metrics = [metric for metric in self._ratios if isinstance(metric, Corpus)]
        if not metrics or self._resampling.k < 2:
            return iter(())
        draws = self._resampling.sample_counts()
        return iter(np.array([[metric.weighted(counts) for metric in metrics] for counts in draws]).T)

    def _take(self, above: Floats, below: Floats) -> int:
        place = len(self._ratios)
        self._ratios += [
            (self._place(numerator), self._place(denominator))
            for numerator, denominator in zip(above.T, below.T, strict=True)
        ]
        return place

    def _place(self, sums: Floats) -> int:
        """Sums that were met before (the denominators of all means of a group) are resampled once."""
        key = sums.tobytes()
        place = self._known.setdefault(key, len(self._columns))
        if place == len(self._columns):
            self._columns.append(np.ascontiguousarray(sums))
        return place


def ratio(above: Floats, below: Floats) -> Floats:
    """``(d,)`` above / below; NaN in draws that missed the group."""
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


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
