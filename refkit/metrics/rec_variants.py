"""Referring expression comprehension as other code bases score it: one box per expression, another overlap,
another threshold or another canvas than ``rec/1``.

Each variant exists to answer "why is my number different"; ``rec/1`` is the one to report. Notation: ``n``
expressions. Source: §2.1 and §3.3 of the evaluation specification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from refkit.metrics.boxes import clip_boxes, paired_giou, paired_iou, paired_pixel_iou
from refkit.metrics.breakdown import Groups, group_label, mean_over_groups
from refkit.metrics.protocol import Column, Corpus, Evaluation, Protocol, register
from refkit.metrics.rec import LABELS, THRESHOLDS, BoxPairs, read_box_pairs

if TYPE_CHECKING:
    from refkit.data.records import Record
    from refkit.structures import Prediction

Floats = NDArray[np.float64]
Pairs = Iterable[tuple["Record", "Prediction | None"]]

LETTERBOX = 640
REST = """\
Everything else as in rec/1: of several boxes the one with the highest score, missing and invalid answers are
misses and stay in the denominator, accuracy = hits / expressions."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What one protocol does differently.

    Attributes:
        id: of the protocol.
        text: its first sentences; `REST` follows.
        overlap: from the boxes to ``(n,)`` overlaps.
        strict: a hit needs an overlap above the threshold, not at it.
        mean: the mean overlap is reported as ``miou``.
        centre: the share of predictions whose centre lies in the annotated box is reported.
        per_category: accuracies averaged over categories are reported.
    """

    id: str
    text: str
    overlap: Callable[[BoxPairs], Floats]
    strict: bool = False
    mean: bool = True
    centre: bool = False
    per_category: bool = False


def unclipped_iou(boxes: BoxPairs) -> Floats:
    """``(n,)`` IoU of the boxes as they are."""
    return paired_iou(boxes.predicted, boxes.gt)


def unclipped_giou(boxes: BoxPairs) -> Floats:
    """``(n,)`` generalised IoU of the boxes as they are; -1 for an invalid answer."""
    return paired_giou(boxes.predicted, boxes.gt)


def pixel_inclusive_iou(boxes: BoxPairs) -> Floats:
    """``(n,)`` IoU of boxes whose right and bottom edges are pixels that belong to them."""
    return paired_pixel_iou(boxes.predicted, boxes.gt)


def rounded_iou(boxes: BoxPairs) -> Floats:
    """``(n,)`` IoU after rounding the prediction to whole pixels (halves to even) and clipping it."""
    return paired_iou(clip_boxes(np.rint(boxes.predicted), boxes.sizes), boxes.gt)


def letterbox_iou(boxes: BoxPairs, side: int = LETTERBOX) -> Floats:
    """``(n,)`` IoU on the padded square that TransVG's data pipeline makes.

    The annotated left, top, width and height are cut to integers one by one. Both boxes are scaled so that
    the long side of the image is ``side`` and moved by the padding, ``round(rest / 2 - 0.1)``; the
    prediction is clipped to the square.
    """
    ratio = side / boxes.sizes.max(axis=1, initial=1.0)
    shift = np.rint((side - np.rint(boxes.sizes * ratio[:, None])) / 2 - 0.1)
    to_square = partial(_scale_and_shift, ratio=ratio[:, None], shift=np.tile(shift, (1, 2)))
    corner, extent = np.trunc(boxes.gt[:, :2]), np.trunc(boxes.gt[:, 2:] - boxes.gt[:, :2])
    truth = to_square(np.concatenate((corner, corner + extent), axis=1))
    return paired_iou(np.clip(to_square(boxes.predicted), 0.0, float(side)), truth)


def _scale_and_shift(boxes: Floats, ratio: Floats, shift: Floats) -> Floats:
    return boxes * ratio + shift


def centre_hits(boxes: BoxPairs) -> NDArray[np.bool_]:
    """``(n,)``: the centre of the prediction lies in the annotated box, borders included."""
    centre = (boxes.predicted[:, :2] + boxes.predicted[:, 2:]) / 2
    inside = (centre >= boxes.gt[:, :2]) & (centre <= boxes.gt[:, 2:])
    return inside[:, 0] & inside[:, 1]


def score_variant(variant: Variant, boxes: BoxPairs) -> tuple[dict[str, Column | Corpus], Floats]:
    """The metrics of a variant without those over categories, and ``(n,)`` overlaps."""
    overlap = variant.overlap(boxes)
    passes = np.greater if variant.strict else np.greater_equal
    hits = passes(overlap[:, None], THRESHOLDS)
    columns: dict[str, Column | Corpus] = {
        f"acc{threshold}": Column.mean(hits[:, (threshold - 50) // 5]) for threshold in (50, 75, 90)
    }
    columns["macc"] = Column(hits.sum(axis=1).astype(np.float64), np.full(len(hits), float(hits.shape[1])))
    if variant.mean:
        columns["miou"] = Column.mean(overlap)
    if variant.centre:
        columns["centre"] = Column.mean(centre_hits(boxes))
    return columns, overlap


def evaluate(pairs: Pairs, variant: Variant) -> Evaluation:
    """A variant over records and predictions."""
    categories = Groups()
    boxes = read_box_pairs(_with_categories(pairs, categories) if variant.per_category else pairs)
    columns, overlap = score_variant(variant, boxes)
    if variant.per_category:
        for name in ("acc50", "macc"):
            column = columns[name]
            assert isinstance(column, Column)
            columns[f"{name}_per_category"] = mean_over_groups(column, categories.codes())
    return Evaluation(columns, boxes.invalid, {"iou" if variant.mean else "giou": overlap})


def _with_categories(pairs: Pairs, categories: Groups) -> Pairs:
    for record, prediction in pairs:
        categories.add(group_label(record, "category"))
        yield record, prediction


VARIANTS = (
    Variant(
        "rec/unclipped",
        """\
rec/unclipped: IoU of boxes in continuous pixels of the original image; the prediction is not clipped to the
image; hit when IoU >= t. Also reported: the share of predictions whose centre lies in the annotated box,
borders included.""",
        unclipped_iou,
        centre=True,
    ),
    Variant(
        "rec/transvg",
        """\
rec/transvg: the evaluation of TransVG, CLIP-VG, HiVG and OneRef. Left, top, width and height of the annotated
box are cut to integers one by one; both boxes are moved to the square canvas that results from scaling the
long side of the image to 640 pixels and centring it (offset = round(rest / 2 - 0.1)); the prediction is
clipped to the square, not to the picture; hit when IoU >= t. Computed in double precision; the original uses
single precision, which decides where the IoU is at the threshold to seven digits.""",
        letterbox_iou,
    ),
    Variant(
        "rec/mdetr-giou",
        """\
rec/mdetr-giou: the evaluation of MDETR and of what follows it. Generalised IoU (IoU - (C - U) / C with the
smallest enclosing box C) of boxes in continuous pixels of the original image, not clipped; hit when
generalised IoU >= t. Never above the accuracy by IoU of the same boxes.""",
        unclipped_giou,
        mean=False,
    ),
    Variant(
        "rec/strict-gt",
        """\
rec/strict-gt: IoU of boxes in continuous pixels of the original image, not clipped; hit when IoU > t, so that
an IoU of exactly 0.5 is a miss (ReSC, Shikra and the scripts copied from it).""",
        unclipped_iou,
        strict=True,
    ),
    Variant(
        "rec/ref-l4",
        """\
rec/ref-l4: the evaluation of Ref-L4. IoU of boxes in continuous pixels of the original image, not clipped;
hit when IoU > t. Also reported: acc50 and macc within each category, averaged over categories; records
without a category form one category of their own.""",
        unclipped_iou,
        strict=True,
        per_category=True,
    ),
    Variant(
        "rec/inclusive",
        """\
rec/inclusive: the evaluation of the Google toolbox and MAttNet. Boxes hold whole pixels: right = left + width
- 1, widths and heights of intersections count both ends, and two boxes intersect only where left < right and
top < bottom strictly; not clipped; hit when IoU >= t.""",
        pixel_inclusive_iou,
    ),
    Variant(
        "rec/vlm-r1",
        """\
rec/vlm-r1: the evaluation of VLM-R1: overlaps as in rec/inclusive, hit when IoU > t. Its published figures
are those of random samples of 500 or 2,000 expressions of a split.""",
        pixel_inclusive_iou,
        strict=True,
    ),
    Variant(
        "rec/rounded",
        """\
rec/rounded: rec/1 after rounding the predicted box to whole pixels, as methods do that answer in text: what
the rounding alone costs. Clipped to the image after rounding; hit when IoU >= t.""",
        rounded_iou,
    ),
)

_EXTRA_LABELS = {
    "centre": "centre in box",
    "acc50_per_category": "Acc@0.5, mean of categories",
    "macc_per_category": "mAcc, mean of categories",
}


def _labels(variant: Variant) -> dict[str, str]:
    names = [name for name in LABELS if variant.mean or name != "miou"]
    names += ["centre"] * variant.centre + ["acc50_per_category", "macc_per_category"] * variant.per_category
    return {name: (LABELS | _EXTRA_LABELS)[name] for name in names}


for _variant in VARIANTS:
    register(
        Protocol(
            id=_variant.id,
            text=f"{_variant.text} {REST}",
            evaluate=partial(evaluate, variant=_variant),
            labels=_labels(_variant),
            by_sample=not _variant.per_category,
        )
    )
