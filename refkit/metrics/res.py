"""Referring expression segmentation: ``res/1`` and the rules of other code bases.

Streams: two areas per expression are kept, never a mask. Notation: ``n`` expressions; I intersection, U union
in pixels. Source: §2.2 and §3.3 of the evaluation specification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from refkit.metrics.masks import RLE, Overlaps, overlap, predicted_mask, ratio, target_masks, unite
from refkit.metrics.protocol import Column, Evaluation, Protocol, ProtocolError, register
from refkit.rle import decode, encode

if TYPE_CHECKING:
    from refkit.data.records import Record, Target
    from refkit.structures import Prediction

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Canvas = Callable[[Bools], Bools]

PRECISIONS = (50, 60, 70, 80, 90)
CRIS_EPSILON = 1e-6
LAVT_SIDE = 480
ONEREF_SIDE = 384


@dataclass(frozen=True, slots=True)
class Variant:
    """What one protocol does.

    Attributes:
        id: of the protocol.
        text: its definition.
        single_cover: a pixel of the truth counts only where exactly one part of the object covers it.
        canvas: how both masks are resampled first; None leaves them at the size of the image.
        side: an answer of this height and width is a mask of the canvas already; 0 where there is none.
        empty: IoU where the union is empty.
        eps: added to the union in the IoU of an expression.
        strict: precision counts IoU above the threshold, not at it.
    """

    id: str
    text: str
    single_cover: bool = False
    canvas: Canvas | None = None
    side: int = 0
    empty: float = 0.0
    eps: float = 0.0
    strict: bool = False


def stretched(mask: Bools, side: int = LAVT_SIDE) -> Bools:
    """A ``(H, W)`` mask as ``(side, side)``, the pixel under each new one's centre, aspect ratio lost."""
    return _resampled(mask, side, side, at=0.5)


def padded(mask: Bools, side: int = ONEREF_SIDE) -> Bools:
    """A ``(H, W)`` mask scaled to a long side of ``side``, in the middle of an empty square.

    The nearest pixel is torch's: that under the upper left corner of each new one.
    """
    height, width = mask.shape
    scale = side / max(height, width)
    rows, columns = round(height * scale), round(width * scale)
    top, left = round((side - rows) / 2 - 0.1), round((side - columns) / 2 - 0.1)
    square = np.zeros((side, side), bool)
    square[top : top + rows, left : left + columns] = _resampled(mask, rows, columns, at=0.0)
    return square


def _resampled(mask: Bools, rows: int, columns: int, at: float) -> Bools:
    """The pixel under one point of each new pixel, ``at`` sides of it from its upper left corner."""
    height, width = mask.shape
    down = ((np.arange(rows) + at) * height / rows).astype(np.int64)
    right = ((np.arange(columns) + at) * width / columns).astype(np.int64)
    return mask[np.ix_(down, right)]


def single_cover(record: Record) -> RLE | None:
    """The pixels of the truth that exactly one part covers.

    Parts are the polygons of the targets; a target that was annotated as run lengths is one part.

    Raises:
        ProtocolError: a target without a mask.
    """
    from pycocotools import mask as coco

    height, width = record.image.height, record.image.width
    parts: list[RLE] = []
    for target, mask in zip(record.targets, target_masks(record), strict=True):
        if target.polygons:
            parts += coco.frPyObjects(_points(target), height, width)
        else:
            parts.append(mask)
    if len(parts) < 2:
        return parts[0] if parts else None
    times = np.sum([decode(_text(part)) for part in parts], axis=0, dtype=np.int64)
    return encode(times == 1)


def _points(target: Target) -> list[list[float]]:
    return [[float(number) for number in polygon] for polygon in target.polygons or ()]


def score_res(
    intersections: Floats,
    unions: Floats,
    answered: Bools | None = None,
    *,
    empty: float = 0.0,
    eps: float = 0.0,
    strict: bool = False,
) -> tuple[dict[str, Column], Floats]:
    """Mean IoU, overall IoU and precisions from the areas of ``n`` expressions.

    Args:
        intersections: ``(n,)`` pixels.
        unions: ``(n,)`` pixels.
        answered: ``(n,)``, False where there is no mask and the IoU is 0 in any case; None where all are.
        empty: IoU where the union is empty.
        eps: added to the union in the IoU of an expression.
        strict: precision counts IoU above the threshold, not at it.

    Returns:
        The metrics by name, and ``(n,)`` IoU.

    Raises:
        ProtocolError: the two arrays do not belong together.
    """
    if intersections.shape != unions.shape or (intersections > unions).any():
        raise ProtocolError("intersections and unions do not belong together")
    iou = ratio(intersections, unions, empty, eps)
    if answered is not None:
        iou = np.where(answered, iou, 0.0)
    passes = np.greater if strict else np.greater_equal
    columns = {"miou": Column.mean(iou), "oiou": Column(intersections, unions)}
    columns |= {f"p{threshold}": Column.mean(passes(iou, threshold / 100)) for threshold in PRECISIONS}
    return columns, iou


def evaluate(pairs: Iterable[tuple[Record, Prediction | None]], variant: Variant) -> Evaluation:
    """A variant over records and predictions."""
    overlaps, answered = Overlaps(), []
    outlined = 0
    for record, prediction in pairs:
        outlined += any(target.polygons for target in record.targets)
        truth = single_cover(record) if variant.single_cover else unite(target_masks(record))
        predicted = predicted_mask(record, prediction, variant.side)
        answered.append(predicted is not None)
        invalid = predicted is None and prediction is not None
        overlaps.add(*_pixels(predicted, truth, variant), invalid)
    common, united = overlaps.intersections, overlaps.unions
    rule = {"empty": variant.empty, "eps": variant.eps}
    columns, iou = score_res(common, united, np.array(answered, bool), **rule, strict=variant.strict)
    rows = {"iou": iou, "intersection": common, "union": united}
    return Evaluation(columns, overlaps.invalid, rows, warnings=_warnings(variant, outlined, len(iou)))


def _pixels(predicted: RLE | None, truth: RLE | None, variant: Variant) -> tuple[int, int]:
    canvas = variant.canvas
    if canvas is None:
        return overlap(predicted, truth)
    a = _on_canvas(predicted, canvas, variant.side)
    b = _on_canvas(truth, canvas)
    if a is None or b is None:
        return 0, sum(int(mask.sum()) for mask in (a, b) if mask is not None)
    return int((a & b).sum()), int((a | b).sum())


def _on_canvas(mask: RLE | None, canvas: Canvas, side: int = 0) -> Bools | None:
    if mask is None:
        return None
    decoded = decode(_text(mask))
    return decoded if decoded.shape == (side, side) else canvas(decoded)


def _text(mask: RLE) -> RLE:
    counts = mask["counts"]
    return {"size": mask["size"], "counts": counts.decode("ascii")} if isinstance(counts, bytes) else mask


def _warnings(variant: Variant, outlined: int, n: int) -> tuple[str, ...]:
    if not variant.single_cover or outlined or not n:
        return ()
    return (
        f"no record keeps its polygons, so {variant.id} cannot tell where parts overlap and takes united "
        "masks; import the set with polygons",
    )


REST = """\
Missing answers and answers without a mask have IoU 0 and add the truth's area to the unions. mIoU = mean IoU
over expressions; oIoU = sum of intersections / sum of unions."""
VARIANTS = (
    Variant(
        "res/1",
        f"""\
res/1: masks at the size of the original image; all parts and all targets of an expression are united. IoU = I
/ U, and 0 where U = 0. P@X = share of expressions with IoU >= X. {REST}""",
    ),
    Variant(
        "res/single-cover",
        f"""\
res/single-cover: res/1, but a pixel of the truth counts only where exactly one part of the object covers it
(the REFER API adds parts, and code that compares with 1 loses their overlap). Needs records that keep their
polygons. {REST}""",
        single_cover=True,
    ),
    Variant(
        "res/lavt",
        f"""\
res/lavt: the test of LAVT: the truth of res/single-cover, both masks resampled to 480 x 480 by nearest pixel,
aspect ratio lost; IoU 0 where U = 0; P@X with IoU >= X. Prediction files hold masks of the original size, so
the prediction is resampled too, where LAVT predicts at 480 x 480. {REST}""",
        single_cover=True,
        canvas=stretched,
    ),
    Variant(
        "res/cris",
        f"""\
res/cris: the test of CRIS: united masks at the original size, IoU = I / (U + 0.000001), P@X with IoU > X. Its
threshold of 0.35 on mask probabilities belongs to the prediction. Its "IoU" is mIoU. {REST}""",
        eps=CRIS_EPSILON,
        strict=True,
    ),
    Variant(
        "res/lisa",
        f"""\
res/lisa: the rule of LISA, GLaMM, EVF-SAM and Sa2VA: res/1, but IoU = 1 where the union is empty. Their gIoU
is mIoU, their cIoU is oIoU. {REST}""",
        empty=1.0,
    ),
    Variant(
        "res/padded-canvas",
        f"""\
res/padded-canvas: the evaluation of OneRef and HiVG: both masks scaled to a long side of 384 pixels by
nearest pixel (floor(i * old side / new side)), in the middle of a square whose padding takes part (offset =
round(rest / 2 - 0.1)). An answer of 384 x 384 pixels is a mask of this square and taken as it is, with what
it says inside the padding; a mask of the original image has nothing there. IoU 0 where U = 0; P@X with IoU >=
X. {REST}""",
        canvas=padded,
        side=ONEREF_SIDE,
    ),
)
LABELS = {"miou": "mIoU", "oiou": "oIoU"} | {
    f"p{threshold}": f"P@0.{threshold // 10}" for threshold in PRECISIONS
}

for _variant in VARIANTS:
    register(
        Protocol(
            id=_variant.id,
            text=_variant.text,
            evaluate=partial(evaluate, variant=_variant),
            labels=LABELS,
            with_masks=True,
            by_sample=not _variant.single_cover,  # which warns of the set as a whole
            task="res",
            answer="mask",
        )
    )
