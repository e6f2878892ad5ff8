"""Referring expression comprehension: the protocol ``rec/1``.

`score_rec` works on arrays; `evaluate` reads the arrays off records and predictions. Notation: ``n``
expressions.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refkit.metrics.boxes import as_boxes, clip_boxes, paired_iou, valid_boxes
from refkit.metrics.protocol import Column, Evaluation, Protocol, ProtocolError, register

if TYPE_CHECKING:
    from refkit.data.records import Record
    from refkit.structures import Prediction

REC1 = """\
rec/1: IoU of boxes in continuous pixels of the original image (xyxy, area = width x height, no +1). The
predicted box is first clipped to the image, the annotated box is used as it is. An expression is a hit at
threshold t when IoU >= t. Of several predicted boxes the one with the highest score counts, the first of
equal scores, the first without scores. A missing, unparsable, reversed or non-finite answer has IoU 0 and
stays in the denominator. Accuracy = hits / expressions over the whole set (acc50, acc75, acc90: t = 0.5,
0.75, 0.9);
macc = mean accuracy over t = 0.50, 0.55 ... 0.95; miou = mean IoU."""

THRESHOLDS = np.arange(50, 100, 5) / 100
NO_BOX = (np.nan,) * 4


@dataclass(frozen=True, slots=True, eq=False)
class RecScore:
    """Accuracies as fractions of all expressions.

    Attributes:
        acc50: share of expressions with IoU >= 0.5.
        acc75: same at 0.75.
        acc90: same at 0.9.
        macc: mean over the thresholds 0.50, 0.55 … 0.95.
        miou: mean IoU.
        invalid: share of expressions without a usable box.
        per_sample_iou: ``(n,)`` float64.
    """

    acc50: float
    acc75: float
    acc90: float
    macc: float
    miou: float
    invalid: float
    per_sample_iou: NDArray[np.float64]


def score_rec(pred_boxes: ArrayLike, gt: ArrayLike, sizes: ArrayLike) -> RecScore:
    """Score one box per expression under ``rec/1``.

    Args:
        pred_boxes: ``(n, 4)`` xyxy pixels of the original image; a row of NaN is "no usable box".
        gt: ``(n, 4)`` annotated boxes.
        sizes: ``(n, 2)`` width and height of the images in pixels.

    Raises:
        ProtocolError: the three arrays do not belong together, or an annotated box is not a box.
    """
    boxes = as_boxes(pred_boxes)
    iou = _clipped_iou(boxes, as_boxes(gt), np.asarray(sizes, np.float64).reshape(-1, 2))
    values = {name: column.value for name, column in _columns(iou).items()}
    return RecScore(**values, invalid=Column.mean(~valid_boxes(boxes)).value, per_sample_iou=iou)


def _clipped_iou(boxes: NDArray, gt: NDArray, sizes: NDArray) -> NDArray[np.float64]:
    if not len(boxes) == len(gt) == len(sizes):
        raise ProtocolError(
            f"{len(boxes)} predicted boxes, {len(gt)} annotated ones, {len(sizes)} image sizes"
        )
    broken = np.flatnonzero(~valid_boxes(gt))
    if broken.size:
        row = broken[0]
        raise ProtocolError(f"annotated box {row} is not a box: {gt[row].tolist()} (xyxy, left <= right)")
    return paired_iou(clip_boxes(_without_invalid(boxes), sizes), gt)


def _without_invalid(boxes: NDArray) -> NDArray:
    """Invalid rows become NaN before clipping, which would turn infinity into a border."""
    return np.where(valid_boxes(boxes)[:, None], boxes, np.nan)


def _columns(iou: NDArray[np.float64]) -> dict[str, Column]:
    passed = (iou[:, None] >= THRESHOLDS).sum(axis=1)
    return {
        "acc50": Column.mean(iou >= 0.5),
        "acc75": Column.mean(iou >= 0.75),
        "acc90": Column.mean(iou >= 0.9),
        # counts over a constant instead of a mean of means: integers add up exactly
        "macc": Column(passed.astype(np.float64), np.full(len(iou), float(len(THRESHOLDS)))),
        "miou": Column.mean(iou),
    }


def top_box(prediction: Prediction | None) -> tuple[float, ...]:
    """The one box that counts: highest score, the first of equals; NaN without a box."""
    if prediction is None or prediction.boxes is None or len(prediction.boxes) == 0:
        return NO_BOX
    scores = prediction.scores
    best = 0 if scores is None or len(scores) == 1 else int(np.argmax(scores))
    return tuple(prediction.boxes[best].tolist())


def target_box(record: Record) -> tuple[float, ...]:
    """The annotated box of a record with exactly one target.

    Raises:
        ProtocolError: no target, several targets, or a target without a box.
    """
    boxes = [target.box for target in record.targets]
    if len(boxes) != 1 or boxes[0] is None:
        what = "has no box" if len(boxes) == 1 else f"has {len(boxes)} targets"
        raise ProtocolError(
            f"record {record.id!r} {what}; this protocol scores exactly one box per expression or region "
            "(several or no targets need a protocol of the GREC or phrase family)"
        )
    return boxes[0]


@dataclass(frozen=True, slots=True, eq=False)
class BoxPairs:
    """One predicted and one annotated box of ``n`` expressions.

    Attributes:
        predicted: ``(n, 4)`` xyxy pixels; NaN where there is no box, and where it is no valid box.
        gt: ``(n, 4)`` annotated boxes.
        sizes: ``(n, 2)`` width and height of the images.
        invalid: ``(n,)`` bool, answered without a usable box.
    """

    predicted: NDArray[np.float64]
    gt: NDArray[np.float64]
    sizes: NDArray[np.float64]
    invalid: NDArray[np.bool_]


def read_box_pairs(pairs: Iterable[tuple[Record, Prediction | None]]) -> BoxPairs:
    """The arrays that every protocol of one box per expression works on.

    Raises:
        ProtocolError: a record without exactly one box.
    """
    numbers, answered = array("d"), array("b")
    for record, prediction in pairs:
        image = record.image
        numbers.extend((*top_box(prediction), *target_box(record), image.width, image.height))
        answered.append(prediction is not None)
    predicted, gt, sizes = map(np.ascontiguousarray, np.hsplit(np.array(numbers).reshape(-1, 10), (4, 8)))
    usable = valid_boxes(predicted)
    return BoxPairs(
        np.where(usable[:, None], predicted, np.nan),
        gt,
        sizes,
        ~usable & np.array(answered, bool),
    )


def evaluate(pairs: Iterable[tuple[Record, Prediction | None]]) -> Evaluation:
    """`rec/1` over records and predictions."""
    boxes = read_box_pairs(pairs)
    iou = _clipped_iou(boxes.predicted, boxes.gt, boxes.sizes)
    return Evaluation(_columns(iou), boxes.invalid, {"iou": iou})


LABELS = {
    "acc50": "Acc@0.5",
    "acc75": "Acc@0.75",
    "acc90": "Acc@0.9",
    "macc": "mAcc .50:.95",
    "miou": "mIoU",
}

register(Protocol(id="rec/1", text=REC1, evaluate=evaluate, labels=LABELS, by_sample=True))
