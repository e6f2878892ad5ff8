"""Generalised referring segmentation (gRefCOCO): an expression may mean nothing, one or several objects.

Source: §2.3 of the evaluation specification, after ReLA's evaluator. Notation: P predicted mask, G truth.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from refkit.metrics.masks import Overlaps, area, overlap, predicted_mask, ratio, target_masks, unite
from refkit.metrics.protocol import Column, Evaluation, Protocol, register

if TYPE_CHECKING:
    from refkit.data.records import Record
    from refkit.structures import Prediction

PRECISIONS = (70, 80, 90)


@dataclass(slots=True)
class _Answers:
    """What was collected of ``n`` expressions: areas, who is rejected, who has a target."""

    overlaps: Overlaps = field(default_factory=Overlaps)
    targeted: list[bool] = field(default_factory=list)
    rejected: list[bool] = field(default_factory=list)
    answered: list[bool] = field(default_factory=list)

    def take(self, record: Record, prediction: Prediction | None, by_flag: bool) -> None:
        """One expression, by the four cases of the table in §2.3."""
        predicted = predicted_mask(record, prediction)
        truth = unite(target_masks(record))
        flagged = prediction is not None and prediction.status == "ok" and bool(prediction.no_target)
        usable = predicted is not None or (by_flag and flagged)
        rejected = usable and (flagged if by_flag else area(predicted) == 0)
        common, united = overlap(predicted, truth)
        nothing_meant = not record.targets
        if rejected:
            common, united = 0, 0 if nothing_meant else united
        self.overlaps.add(common, united, prediction is not None and not usable)
        self.targeted.append(not nothing_meant)
        self.rejected.append(rejected)
        self.answered.append(usable)


def evaluate(pairs: Iterable[tuple[Record, Prediction | None]], by_flag: bool) -> Evaluation:
    """A variant over records and predictions.

    Args:
        pairs: records with their predictions.
        by_flag: the flag ``no_target`` rejects, otherwise an empty mask.
    """
    answers = _Answers()
    for record, prediction in pairs:
        answers.take(record, prediction, by_flag)
    targeted, rejected = np.array(answers.targeted, bool), np.array(answers.rejected, bool)
    overlaps = answers.overlaps
    iou = ratio(overlaps.intersections, overlaps.unions)
    iou[~targeted & rejected] = 1.0
    accepted = np.array(answers.answered, bool) & ~rejected
    columns = {
        "giou": Column.mean(iou),
        "ciou": overlaps.overall(),
        "giou_target": Column(iou * targeted, targeted.astype(np.float64)),
        "n_acc": Column((rejected & ~targeted).astype(np.float64), (~targeted).astype(np.float64)),
        "t_acc": Column((accepted & targeted).astype(np.float64), targeted.astype(np.float64)),
    }
    for threshold in PRECISIONS:
        hits = targeted & (iou >= threshold / 100)
        columns[f"p{threshold}"] = Column(hits.astype(np.float64), targeted.astype(np.float64))
    rows = {
        "iou": iou,
        "intersection": overlaps.intersections,
        "union": overlaps.unions,
        "rejected": rejected,
    }
    return Evaluation(columns, overlaps.invalid, rows)


TABLE = """\
Masks at the size of the original image, all targets united. Per expression: nothing is meant and it is
rejected: IoU 1, adds nothing to the sums; nothing is meant and not rejected: IoU 0, the union grows by the
area of the prediction; something is meant and rejected: IoU 0, the union grows by the union of prediction (as
drawn) and truth; otherwise I / U. gIoU = mean IoU (nothing to do with generalised box IoU), also over
targeted expressions alone; cIoU = sum of intersections / sum of unions; N-acc = rejected share of the
expressions that mean nothing; T-acc = share of the targeted ones that are answered and not rejected; P@X =
share of the targeted ones with IoU >= X. A missing answer is wrong everywhere and never a rejection."""
VARIANTS = {
    "gres/flag": (
        f"""\
gres/flag: the evaluation of ReLA on gRefCOCO. An expression is rejected when the prediction says no_target;
its mask then only enters the union. An answer with neither is invalid. {TABLE}""",
        True,
    ),
    "gres/empty-mask": (
        f"""\
gres/empty-mask: for methods without a no-target flag: an expression is rejected when the predicted mask is
empty. An answer without a mask is invalid. {TABLE}""",
        False,
    ),
}
LABELS = {
    "giou": "gIoU (mean)",
    "ciou": "cIoU (overall)",
    "giou_target": "gIoU, targeted only",
    "n_acc": "N-acc",
    "t_acc": "T-acc",
    **{f"p{threshold}": f"P@0.{threshold // 10}" for threshold in PRECISIONS},
}

for _id, (_text, _by_flag) in VARIANTS.items():
    register(
        Protocol(
            id=_id,
            text=_text,
            evaluate=partial(evaluate, by_flag=_by_flag),
            labels=LABELS,
            with_masks=True,
            by_sample=True,
            task="gres",
            answer="mask",
        )
    )
