"""Intervals for metrics over samples that share images: the image is the unit that was drawn, so it is
resampled.

Notation: ``n`` samples, ``k`` clusters (images), ``m`` metrics, ``d`` draws. Source: §2.11 of the evaluation
specification, after Efron and Tibshirani 1993, chapter 13 (percentile interval).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from refkit.metrics.protocol import Column

CHUNK_ELEMENTS = 4_000_000
INTERVAL_DECIMALS = 6


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
        self._clusters = clusters
        self._k = int(clusters.max()) + 1 if len(clusters) else 0
        self._draws = draws
        self._seed = seed
        self._tail = (1 - level) / 2
        self._above: list[NDArray[np.float64]] = []
        self._below: list[NDArray[np.float64]] = []

    def add(self, column: Column) -> int:
        """Take a metric over the ``n`` samples.

        Returns:
            Its place in `intervals`.
        """
        self._above.append(self._sums(column.numerator))
        self._below.append(self._sums(column.denominator))
        return len(self._above) - 1

    def intervals(self) -> list[tuple[float, float] | None]:
        """(low, high) of each metric; None where fewer than two images contribute.

        The ends are rounded to six decimals, far below the noise of the draws, so that they do not depend on
        how a linear algebra library splits its sums.
        """
        if not self._above or not self._draws or not self._k:
            return [None] * len(self._above)
        above, below = np.stack(self._above, axis=1), np.stack(self._below, axis=1)
        ratios = _resampled_ratios(above, below, self._draws, np.random.default_rng(self._seed))
        return [
            self._percentiles(ratios[:, column]) if np.count_nonzero(below[:, column]) > 1 else None
            for column in range(ratios.shape[1])
        ]

    def _sums(self, values: NDArray) -> NDArray[np.float64]:
        return np.asarray(np.bincount(self._clusters, weights=values, minlength=self._k), np.float64)

    def _percentiles(self, ratios: NDArray[np.float64]) -> tuple[float, float]:
        low, high = np.nanquantile(ratios, (self._tail, 1 - self._tail))
        return round(float(low), INTERVAL_DECIMALS), round(float(high), INTERVAL_DECIMALS)


def _resampled_ratios(
    above: NDArray[np.float64], below: NDArray[np.float64], draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """``(d, m)``: one matrix product of "how often was each image drawn" with the sums per image."""
    k, m = above.shape
    sums = np.concatenate((above, below), axis=1)
    resampled = np.empty((draws, 2 * m))
    chunk = max(1, CHUNK_ELEMENTS // k)
    for start in range(0, draws, chunk):
        rows = min(chunk, draws - start)
        drawn = rng.integers(0, k, size=(rows, k)) + np.arange(rows)[:, None] * k
        times = np.bincount(drawn.ravel(), minlength=rows * k).reshape(rows, k)
        resampled[start : start + rows] = times.astype(np.float64) @ sums
    numerator, denominator = resampled[:, :m], resampled[:, m:]
    return np.divide(numerator, denominator, out=np.full((draws, m), np.nan), where=denominator > 0)
