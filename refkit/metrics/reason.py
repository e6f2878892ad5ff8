"""Reasoning segmentation: masks with an area that does not count.

Source: §2.2 (LISA) and §1.10 (ReasonSeg) of the evaluation specification.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from refkit.metrics.masks import (
    RLE,
    Overlaps,
    area,
    checked,
    intersection,
    predicted_mask,
    ratio,
    target_masks,
    unite,
)
from refkit.metrics.protocol import Column, Evaluation, Protocol, register

if TYPE_CHECKING:
    from refkit.data.records import Record
    from refkit.structures import Prediction

REASON1 = """\
reason/1: masks at the size of the original image, all targets united; pixels of the record's ignore area are
taken out of both masks. IoU = I / U, and 1 where U = 0 (LISA, ReasonSeg). gIoU = mean IoU over expressions
(nothing to do with generalised box IoU), cIoU = sum of intersections / sum of unions. A missing answer and an
answer without a mask have IoU 0, also where nothing was to be found, and add the truth's area to the
unions."""


def overlap_without(predicted: RLE | None, truth: RLE | None, ignored: RLE | None) -> tuple[int, int]:
    """Pixels of intersection and union outside of an ignored area."""
    common = area(intersection(predicted, truth))
    parts = [area(predicted), area(truth)]
    if ignored is not None:
        common -= area(intersection(predicted, truth, ignored))
        parts = [
            part - area(intersection(mask, ignored))
            for part, mask in zip(parts, (predicted, truth), strict=True)
        ]
    return common, sum(parts) - common


def evaluate(pairs: Iterable[tuple[Record, Prediction | None]]) -> Evaluation:
    """`reason/1` over records and predictions."""
    overlaps = Overlaps()
    unanswered = []
    for record, prediction in pairs:
        truth = unite(target_masks(record))
        predicted = predicted_mask(record, prediction)
        ignored = None if record.ignore is None else checked(record.ignore, record, "the ignore area")
        unanswered.append(predicted is None)
        invalid = predicted is None and prediction is not None
        overlaps.add(*overlap_without(predicted, truth, ignored), invalid)
    iou = ratio(overlaps.intersections, overlaps.unions, empty=1.0)
    iou[unanswered] = 0.0
    columns = {"giou": Column.mean(iou), "ciou": overlaps.overall()}
    rows = {"iou": iou, "intersection": overlaps.intersections, "union": overlaps.unions}
    return Evaluation(columns, overlaps.invalid, rows)


register(
    Protocol(
        id="reason/1",
        text=REASON1,
        evaluate=evaluate,
        by_sample=True,
        labels={"giou": "gIoU (mean)", "ciou": "cIoU (overall)"},
        with_masks=True,
        task="res",
        answer="mask",
    )
)
