"""Average precision in many draws of a bootstrap at once, over all samples or those of a group.

What `refkit.metrics.average_precision` computes for one draw. Sorted detections are cut into the stretches
that end where precision is looked at, and the counts of a stretch are one row of a sparse product. Notation:
``n`` samples, ``m`` chosen ones, ``c`` draws, ``d`` detections, ``h`` of them right, ``t`` thresholds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from refkit.metrics.average_precision import RankedLabels
from refkit.metrics.protocol import Resampler, ratio

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Part = Callable[[Ints], Resampler]
"""From the ``(m,)`` rising numbers of the chosen samples to what computes a metric over them."""


def mean_over_parts(parts: Sequence[Part]) -> Part:
    """The mean of several metrics in each draw, without those that are NaN in it."""

    def over(members: Ints) -> Resampler:
        resamplers = [part(members) for part in parts]

        def drawn(counts: Floats) -> Floats:
            total, found = np.zeros(counts.shape[1]), np.zeros(counts.shape[1])
            for resampler in resamplers:
                values = resampler(counts)
                total += np.nan_to_num(values)
                found += ~np.isnan(values)
            return ratio(total, found)

        return drawn

    return over


@dataclass(frozen=True, slots=True, eq=False)
class DrawnSteps:
    """`RankedLabels.average_precision`, a `Part`.

    Attributes:
        ranked: sorted labels of some of the samples.
        n: number of samples.
    """

    ranked: RankedLabels
    n: int

    def __call__(self, members: Ints) -> Resampler:
        """Over the chosen samples."""
        samples, there = _among(members, self.ranked.samples, self.n)
        positive = self.ranked.positive[there]
        ties = np.searchsorted(self.ranked.ends, np.flatnonzero(there))
        hits = np.flatnonzero(positive)
        useful, starts = np.unique(ties[hits], return_index=True)
        shown = _stretches(samples, np.searchsorted(ties, useful, side="right"), len(members))
        gained = _stretches(samples[hits], np.append(starts[1:], len(hits))[: len(starts)], len(members))

        def drawn(counts: Floats) -> Floats:
            gain = gained @ counts
            right = gain.cumsum(axis=0)
            area = (gain * ratio(right, (shown @ counts).cumsum(axis=0), empty=0.0)).sum(axis=0)
            return ratio(area, gain.sum(axis=0))

        return drawn


@dataclass(frozen=True, slots=True, eq=False)
class DrawnInterpolated:
    """The mean of `interpolated` over thresholds, a `Part`.

    Attributes:
        samples: ``(d,)`` number of the sample of each detection, by falling score.
        right: ``(t, d)`` bool.
        positives: ``(n,)`` how many each sample has to be found.
        recalls: rising recall points; recalls are compared with them in their precision.
    """

    samples: Ints
    right: Bools
    positives: Floats
    recalls: Floats | NDArray[np.float32]

    def __call__(self, members: Ints) -> Resampler:
        """Over the chosen samples."""
        samples, there = _among(members, self.samples, len(self.positives))
        # most thresholds often agree on what is right
        distinct, often = np.unique(self.right[:, there], axis=0, return_counts=True)
        hits = np.flatnonzero(distinct.any(axis=0))
        shown = _stretches(samples, hits + 1, len(members))
        owners, right, positives = samples[hits], distinct[:, hits], self.positives[members]

        def drawn(counts: Floats) -> Floats:
            wanted = positives @ counts
            seen, times = (shown @ counts).cumsum(axis=0), counts[owners]
            total = np.zeros(counts.shape[1])
            for row, weight in zip(right, often, strict=True):
                found = times[row].cumsum(axis=0)
                total += weight * _interpolated(found, seen[row], wanted, self.recalls)
            return np.where(wanted > 0, total / len(self.right), np.nan)

        return drawn


def _interpolated(
    found: Floats, seen: Floats, positives: Floats, recalls: Floats | NDArray[np.float32]
) -> Floats:
    """``(c,)`` from ``(h, c)`` right detections and detections down to each right one.

    A recall point takes the highest precision from the first right detection that reaches it on, so a right
    detection counts as often as there are points between the recall before it and its own.
    """
    best = np.maximum.accumulate(ratio(found, seen, empty=0.0)[::-1])[::-1]
    reached = ratio(found, np.broadcast_to(positives, found.shape), empty=0.0).astype(recalls.dtype)
    points = np.searchsorted(recalls, reached, side="right")
    return (best * np.diff(points, axis=0, prepend=0)).sum(axis=0) / len(recalls)


def _among(members: Ints, samples: Ints, n: int) -> tuple[Ints, Bools]:
    """Places of samples among the chosen ones, those of others left out, and ``(d,)`` which stay."""
    places = np.full(n, -1)
    places[members] = np.arange(len(members))
    chosen = places[samples]
    there = chosen >= 0
    return chosen[there], there


def _stretches(samples: Ints, ends: Ints, m: int) -> csr_array:
    """``(h, m)``: how often each of ``m`` samples stands before each end and not before the last one."""
    from scipy.sparse import csr_array

    edges = np.concatenate(([0], ends))
    return csr_array((np.ones(edges[-1]), samples[: edges[-1]], edges), shape=(len(ends), m))
