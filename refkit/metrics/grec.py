"""Generalised referring expression comprehension (gRefCOCO): any number of boxes, also none.

Source: §2.4 of the evaluation specification. Notation: ``k`` predicted, ``m`` annotated boxes of one
expression; TP, FP, FN count matched, surplus and missed boxes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from refkit.metrics.boxes import as_boxes, paired_giou, paired_iou, valid_boxes
from refkit.metrics.protocol import Column, Evaluation, Protocol, ProtocolError, register

if TYPE_CHECKING:
    from refkit.data.records import Record
    from refkit.structures import Prediction

Floats = NDArray[np.float64]

THRESHOLD = 0.5
SCORE = 0.7


@dataclass(frozen=True, slots=True)
class Variant:
    """What one protocol does.

    Attributes:
        id: of the protocol.
        text: its definition.
        overlap: of paired boxes, by which they are matched.
        score: boxes below this score do not count; None takes all boxes of the answer.
    """

    id: str
    text: str
    overlap: Callable[[Floats, Floats], Floats]
    score: float | None


def all_pairs(
    boxes: Floats, others: Floats, overlap: Callable[[Floats, Floats], Floats] = paired_iou
) -> Floats:
    """``(k, m)`` overlaps of every box of one array with every box of another."""
    k, m = len(boxes), len(others)
    return overlap(np.repeat(boxes, m, axis=0), np.tile(others, (k, 1))).reshape(k, m)


def greedy_matches(overlaps: Floats, threshold: float = THRESHOLD) -> int:
    """How many pairs are taken from the highest overlap down, every box once.

    Args:
        overlaps: ``(k, m)``.
        threshold: pairs below it are not taken.
    """
    left = overlaps.copy()
    taken = 0
    while left.size and left.max() >= threshold:
        row, column = np.unravel_index(np.argmax(left), left.shape)
        left[row, :] = left[:, column] = -np.inf
        taken += 1
    return taken


def f1_score(matched: NDArray, predicted: NDArray, annotated: NDArray) -> Floats:
    """``(n,)`` F1 = 2 TP / (2 TP + FP + FN); 1 where nothing is meant and nothing is answered."""
    total = np.asarray(predicted + annotated, np.float64)
    return np.divide(2.0 * matched, total, out=np.ones_like(total), where=total > 0)


def counted_boxes(prediction: Prediction | None, score: float | None) -> Floats | None:
    """``(k, 4)`` the boxes of an answer that count; None where it is no usable answer.

    The flag ``no_target`` without boxes is the answer "none". A box that is no box still counts as one.
    """
    if prediction is None or prediction.status != "ok":
        return None
    if prediction.boxes is None:
        return np.zeros((0, 4)) if prediction.no_target else None
    boxes = as_boxes(prediction.boxes)
    if score is None or prediction.scores is None:
        return boxes
    return boxes[np.asarray(prediction.scores) >= score]


def annotated_boxes(record: Record) -> Floats:
    """``(m, 4)`` boxes of all targets.

    Raises:
        ProtocolError: a target without a box, or with one that is no box.
    """
    boxes = [target.box for target in record.targets if target.box is not None]
    array_of_boxes = as_boxes(boxes)
    if len(boxes) != len(record.targets) or not valid_boxes(array_of_boxes).all():
        raise ProtocolError(f"record {record.id!r} has a target without a usable box")
    return array_of_boxes


def evaluate(pairs: Iterable[tuple[Record, Prediction | None]], variant: Variant) -> Evaluation:
    """A variant over records and predictions."""
    counts, usable, invalid = array("q"), array("b"), array("b")
    for record, prediction in pairs:
        truth = annotated_boxes(record)
        boxes = counted_boxes(prediction, variant.score)
        matched = greedy_matches(all_pairs(boxes, truth, variant.overlap)) if boxes is not None else 0
        counts.extend((matched, len(boxes) if boxes is not None else 0, len(truth)))
        usable.append(boxes is not None)
        invalid.append(prediction is not None and boxes is None)
    hits, predicted, annotated = np.array(counts).reshape(-1, 3).T
    f1 = np.where(np.array(usable, bool), f1_score(hits, predicted, annotated), 0.0)
    rejected = np.array(usable, bool) & (predicted == 0)
    return Evaluation(
        _columns(f1, annotated > 0, rejected, np.array(usable, bool)),
        np.array(invalid, bool),
        {"f1": f1, "rejected": rejected},
    )


def _columns(f1: Floats, targeted: NDArray, rejected: NDArray, usable: NDArray) -> dict[str, Column]:
    with_target, without = targeted.astype(np.float64), (~targeted).astype(np.float64)
    return {
        "f1_exact": Column.mean(f1 == 1.0),
        "f1_exact_target": Column((f1 == 1.0) * with_target, with_target),
        "n_acc": Column(rejected * without, without),
        "t_acc": Column((usable & ~rejected) * with_target, with_target),
    }


REST = """\
Predicted and annotated boxes are paired greedily from the highest overlap down while it is >= 0.5, each box
at most once; boxes are not clipped. Precision@(F1=1) = share of expressions whose F1 = 2 TP / (2 TP + FP +
FN) is 1, also over targeted expressions alone; where nothing is meant, F1 is 1 when no box is left. N-acc =
share of the expressions that mean nothing with no box left; T-acc = share of the targeted ones with a box
left. A missing or unparsable answer is wrong everywhere and never a rejection; a reversed or non-finite box
counts as a box that matches nothing."""
VARIANTS = (
    Variant(
        "grec/1",
        f"grec/1: the overlap is IoU, and every box of the answer counts, whatever its score. {REST}",
        paired_iou,
        None,
    ),
    Variant(
        "grec/giou",
        f"""\
grec/giou: the evaluation of gRefCOCO. Boxes with a score >= 0.7 count, all of them where there are no scores;
the overlap is generalised IoU. The threshold belongs to the calibration of one detector. {REST}""",
        paired_giou,
        SCORE,
    ),
    Variant(
        "grec/iou",
        f"""\
grec/iou: as grec/giou, by IoU. Boxes with a score >= 0.7 count, all of them where there are no scores.
{REST}""",
        paired_iou,
        SCORE,
    ),
)
LABELS = {
    "f1_exact": "Pr@(F1=1)",
    "f1_exact_target": "Pr@(F1=1), targeted only",
    "n_acc": "N-acc",
    "t_acc": "T-acc",
}

for _variant in VARIANTS:
    register(
        Protocol(
            id=_variant.id,
            text=_variant.text,
            evaluate=partial(evaluate, variant=_variant),
            labels=LABELS,
            task="grec",
        )
    )
