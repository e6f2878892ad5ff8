"""Average precision in its two dialects, over samples that may count more than once.

Detections are sorted once; a value is then computed from ``(n,)`` counts, so that a bootstrap or a subgroup
costs two cumulative sums. Notation: ``d`` detections, ``r`` recall points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class RankedLabels:
    """Samples sorted by falling score, with their labels: area under the precision-recall steps.

    Attributes:
        samples: ``(d,)`` number of the sample in each place.
        positive: ``(d,)`` bool, its label.
        ends: places at which a group of equal scores ends; ties enter at once.
    """

    samples: Ints
    positive: Bools
    ends: Ints

    @classmethod
    def of(cls, scores: Floats, positive: Bools, samples: Ints) -> RankedLabels:
        """Sort ``(d,)`` scores and labels of ``(d,)`` samples."""
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        ends = np.flatnonzero(np.append(ranked[:-1] != ranked[1:], True)) if len(ranked) else order
        return cls(samples[order], positive[order], ends)

    def average_precision(self, counts: Floats) -> float:
        """Sum of precision times gain in recall, without interpolation; NaN without a positive.

        Args:
            counts: ``(n,)`` how often each sample counts.
        """
        times = counts[self.samples]
        right = np.cumsum(times * self.positive)[self.ends]
        shown = np.cumsum(times)[self.ends]
        if not len(right) or right[-1] <= 0:
            return float("nan")
        precision = np.divide(right, shown, out=np.zeros_like(right), where=shown > 0)
        return float((np.diff(right, prepend=0.0) * precision).sum() / right[-1])


def interpolated(
    right: Floats, wrong: Floats, positives: float, recalls: Floats | NDArray[np.float32]
) -> float:
    """Mean over recall points of the highest precision at recall >= that point.

    Args:
        right: ``(d,)`` how often each detection counts as right, by falling score.
        wrong: ``(d,)`` how often it counts as wrong.
        positives: how many there are to be found.
        recalls: ``(r,)`` rising recall points; recalls are compared with them in their precision.

    Returns:
        The average precision; NaN without positives, 0 without detections.
    """
    hits = np.flatnonzero(right)
    found = np.cumsum(right[hits])
    return interpolated_hits(found, found + np.cumsum(wrong)[hits], positives, recalls)


def interpolated_hits(
    found: Floats, shown: Floats, positives: float, recalls: Floats | NDArray[np.float32]
) -> float:
    """`interpolated` from the right detections alone, at which precision peaks.

    Args:
        found: ``(h,)`` how many right ones there are down to each of them.
        shown: ``(h,)`` how many detections there are down to each of them.
        positives: how many there are to be found.
        recalls: ``(r,)`` rising recall points; recalls are compared with them in their precision.
    """
    if positives <= 0:
        return float("nan")
    precision = np.divide(found, shown, out=np.zeros_like(found), where=shown > 0)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted((found / positives).astype(recalls.dtype), recalls, side="left")
    return float(best[places[places < len(best)]].sum() / len(recalls))
