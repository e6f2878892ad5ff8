"""Two methods on the same expressions: exact McNemar test, paired image bootstrap, correction over splits.

Notation: ``n`` samples, ``k`` images, ``s`` sums that a metric is made of, ``d`` draws. Source: §2.11 of the
evaluation specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from refkit.leaderboard.statistics.bootstrap import (
    BAR,
    Floats,
    Interval,
    Resampling,
    percentiles,
    stacked_sums,
)
from refkit.metrics.protocol import Column, Corpus, ratio


@dataclass(frozen=True, slots=True)
class McNemar:
    """The exact two-sided McNemar test.

    Attributes:
        only_a: samples that only the first method hits.
        only_b: samples that only the second method hits.
        p: probability of a split at least as uneven if both methods were equally good.
    """

    only_a: int
    only_b: int
    p: float


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """One metric of two methods.

    Attributes:
        a: value of the first method.
        b: value of the second method.
        difference: ``a - b``.
        interval: 95 % interval of the difference by paired image bootstrap; None with fewer than two images.
        p: two-sided, by the same bootstrap; None with fewer than two images.
    """

    a: float
    b: float
    difference: float
    interval: Interval | None
    p: float | None


def mcnemar_exact(hits_a: ArrayLike, hits_b: ArrayLike) -> McNemar:
    """Whether two methods differ in how often they hit, from the samples on which they disagree.

    Args:
        hits_a: ``(n,)`` bool, of the first method.
        hits_b: ``(n,)`` bool, of the second method, on the same samples in the same order.

    Raises:
        ValueError: the two do not have the same length.
    """
    from scipy.stats import binomtest

    first, second = np.asarray(hits_a, bool), np.asarray(hits_b, bool)
    if first.shape != second.shape:
        raise ValueError(f"{len(first)} hits of one method, {len(second)} of the other; expected pairs")
    only_a, only_b = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_a + only_b
    p = float(binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0
    return McNemar(only_a, only_b, p)


def wilson_interval(hits: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's interval of a share of *independent* samples, for comparison with the image bootstrap.

    Raises:
        ValueError: no samples, or more hits than samples.
    """
    from scipy.stats import binomtest

    found = binomtest(hits, n).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


def cluster_standard_error(values: ArrayLike, clusters: NDArray[np.int64]) -> float:
    """Standard error of a mean with images as clusters: sqrt(sum over images of (sum of residuals)²) / n.

    Args:
        values: ``(n,)`` hits, or paired differences of hits.
        clusters: ``(n,)`` number of the image of each.
    """
    numbers = np.asarray(values, np.float64)
    residuals = np.bincount(clusters, weights=numbers - numbers.mean())
    return float(np.sqrt(np.square(residuals).sum()) / len(numbers))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979): compare each with the level, all errors together stay below it.

    Args:
        p_values: one per test of the family (the splits of a comparison), in any order.

    Returns:
        Adjusted p values in the same order.
    """
    order = np.argsort(np.asarray(p_values, np.float64), kind="stable")
    steps = np.arange(len(order), 0, -1) * np.asarray(p_values, np.float64)[order]
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return [float(value) for value in adjusted]


class PairedBootstrap:
    """Differences of two methods under resampling of images, both methods on the same draws."""

    def __init__(
        self, clusters: NDArray[np.int64], draws: int = 2000, seed: int = 0, level: float = 0.95
    ) -> None:
        """Fix the resampling; arguments as for `ImageBootstrap`."""
        self._resampling = Resampling(clusters, draws, seed)
        self._tail = (1 - level) / 2

    def ratio(self, a: Column, b: Column) -> PairedDifference:
        """A metric that is a ratio of sums: means (accuracy, mIoU) and oIoU alike.

        The sums are resampled and divided again, so that the weight of large objects is resampled too.

        Args:
            a: of the first method over the ``n`` samples.
            b: of the second method over the same samples.
        """
        if not self._possible:
            return PairedDifference(a.value, b.value, a.value - b.value, None, None)
        arrays = (a.numerator, a.denominator, b.numerator, b.denominator)
        drawn = self._resampling.resampled(stacked_sums(self._resampling, arrays))
        draws = ratio(drawn[:, 0], drawn[:, 1]) - ratio(drawn[:, 2], drawn[:, 3])
        return self._difference(a.value, b.value, draws)

    def corpus(self, a: Corpus, b: Corpus) -> PairedDifference:
        """A metric of a whole corpus that is no ratio of sums (BLEU, METEOR, average precision).

        What such a metric takes from the whole set, like document frequencies, stays as it is: resampling it
        too would change the metric from draw to draw.

        Args:
            a: of the first method over the ``n`` samples.
            b: of the second method over the same samples.
        """
        if not self._possible:
            return PairedDifference(a.value, b.value, a.value - b.value, None, None)
        everything = np.arange(self._resampling.n)
        with tqdm(total=2 * self._resampling.draws, desc="bootstrap", **BAR) as bar:
            drawn = [self._resampling.drawn(one.resampler(everything), everything, bar) for one in (a, b)]
        draws = drawn[0] - drawn[1]
        return self._difference(a.value, b.value, draws)

    @property
    def _possible(self) -> bool:
        return self._resampling.k > 1 and self._resampling.draws > 0

    def _difference(self, a: float, b: float, draws: Floats) -> PairedDifference:
        """Percentile interval; p is the share of draws that lie as far from the found difference as zero
        does (the draws are shifted onto the null hypothesis), counting the found one."""
        found = a - b
        usable = draws[~np.isnan(draws)]
        # rounding noise must not decide whether a draw equals the found difference
        extreme = int((np.abs(usable - found) >= abs(found) - 1e-12).sum())
        p = (1 + extreme) / (1 + len(usable))
        return PairedDifference(a, b, found, percentiles(draws, self._tail), p)
