"""Category of given boxes: accuracy, and COCO detection average precision with the given boxes as detections.

Source: §2.9 of the evaluation specification. Notation: ``d`` detections of one category, ``t`` IoU
thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from refkit.metrics.average_precision import interpolated
from refkit.metrics.boxes import as_boxes
from refkit.metrics.breakdown import Groups, mean_over_groups
from refkit.metrics.drawn_precision import DrawnInterpolated, mean_over_parts
from refkit.metrics.grec import all_pairs
from refkit.metrics.protocol import Column, Corpus, Evaluation, Protocol, ProtocolError, register
from refkit.metrics.rec import target_box

if TYPE_CHECKING:
    from refkit.data.records import Record
    from refkit.structures import Prediction

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST_DETECTIONS = 100


@dataclass(slots=True)
class Boxes:
    """What was collected of ``n`` boxes."""

    images: dict[str, list[int]] = field(default_factory=dict)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    scores: list[dict[str, float]] = field(default_factory=list)
    invalid: list[bool] = field(default_factory=list)

    def add(self, record: Record, prediction: Prediction | None) -> None:
        """One box.

        Raises:
            ProtocolError: a record without exactly one box of a known category.
        """
        box = target_box(record)
        category = record.targets[0].category
        if not category:
            raise ProtocolError(f"record {record.id!r} has no category to recognise")
        usable = prediction is not None and prediction.status == "ok" and bool(prediction.categories)
        self.images.setdefault(record.image.file, []).append(len(self.boxes))
        self.boxes.append(box)
        self.categories.append(category)
        self.scores.append(dict(prediction.categories or {}) if usable and prediction else {})
        self.invalid.append(prediction is not None and not usable)


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The detections of one category by falling score.

    Attributes:
        samples: ``(d,)`` the box that each comes from.
        right: ``(t, d)`` bool, it claimed a truth at this threshold.
        truths: the boxes that are of this category.
    """

    samples: Ints
    right: Bools
    truths: Ints

    def average_precision(self, counts: Floats, rows: slice) -> float:
        """Mean over IoU thresholds; NaN when nothing is of this category."""
        times = counts[self.samples]
        positives = float(counts[self.truths].sum())
        values = [
            interpolated(times * right, times * ~right, positives, RECALLS) for right in self.right[rows]
        ]
        return float(np.mean(values))

    def drawn(self, n: int, rows: slice) -> DrawnInterpolated:
        """The same in many draws, among ``n`` boxes."""
        positives = np.bincount(self.truths, minlength=n).astype(np.float64)
        return DrawnInterpolated(self.samples, self.right[rows], positives, RECALLS)


def best_category(scores: dict[str, float]) -> str | None:
    """The category of the highest score, the first by name of equals; None without scores."""
    return min(scores, key=lambda name: (-scores[name], name)) if scores else None


def claims(overlaps: Floats) -> Bools:
    """COCO's matching of the detections of one category in one image.

    Args:
        overlaps: ``(d, m)`` IoU of detections, by falling score, with the truths.

    Returns:
        ``(t, d)``: whether the detection claims a free truth at each threshold. It takes the best of them,
        the last of equals.
    """
    d, m = overlaps.shape
    right = np.zeros((len(THRESHOLDS), d), bool)
    free = np.ones((len(THRESHOLDS), m), bool)
    every = np.arange(len(THRESHOLDS))
    least = np.minimum(THRESHOLDS, 1 - 1e-10)
    for row in range(d):
        open_to = np.where(free, overlaps[row], -1.0)
        last_best = m - 1 - np.argmax(open_to[:, ::-1], axis=1)
        hit = open_to[every, last_best] >= least
        right[:, row] = hit
        free[every[hit], last_best[hit]] = False
    return right


def detect(collected: Boxes, every_score: bool) -> dict[str, Detections]:
    """The detections of every category that occurs.

    Args:
        collected: boxes with their truth and scores.
        every_score: every category of every box is a detection, otherwise only its best one.
    """
    boxes = as_boxes(collected.boxes)
    known = sorted(set(collected.categories))
    parts: dict[str, list[tuple[Ints, Floats, Bools]]] = {name: [] for name in known}
    for members in collected.images.values():
        for name, samples, scores in _image_detections(collected, members, every_score):
            if name in parts:
                truths = np.array([one for one in members if collected.categories[one] == name], np.int64)
                parts[name].append((samples, scores, _matched(boxes, samples, truths)))
    return {
        name: _joined(parts[name], np.flatnonzero(np.array(collected.categories) == name)) for name in known
    }


def _image_detections(
    collected: Boxes, members: list[int], every_score: bool
) -> Iterable[tuple[str, Ints, Floats]]:
    """Category, boxes and scores by falling score, at most a hundred of a category."""
    by_name: dict[str, list[tuple[float, int]]] = {}
    for one in members:
        scores = collected.scores[one]
        best = best_category(scores)
        named = scores if every_score else {best: scores[best]} if best is not None else {}
        for name, score in named.items():
            by_name.setdefault(name, []).append((score, one))
    for name, found in by_name.items():
        ranked = sorted(found, key=lambda pair: -pair[0])[:MOST_DETECTIONS]
        scores_of = np.array([score for score, _ in ranked])
        yield name, np.array([one for _, one in ranked], np.int64), scores_of


def _matched(boxes: Floats, samples: Ints, truths: Ints) -> Bools:
    if not len(truths):
        return np.zeros((len(THRESHOLDS), len(samples)), bool)
    return claims(all_pairs(boxes[samples], boxes[truths]))


def _joined(parts: list[tuple[Ints, Floats, Bools]], truths: Ints) -> Detections:
    if not parts:
        return Detections(np.zeros(0, np.int64), np.zeros((len(THRESHOLDS), 0), bool), truths)
    samples, scores, right = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    order = np.argsort(-scores, kind="stable")
    return Detections(samples[order], right[:, order], truths)


def mean_average_precision(detections: Iterable[Detections], n: int, rows: slice) -> Corpus:
    """Mean over categories of their average precisions at some of the IoU thresholds."""
    categories = list(detections)

    def weighted(counts: Floats) -> float:
        values = [one.average_precision(counts, rows) for one in categories]
        found = [value for value in values if not math.isnan(value)]
        return math.fsum(found) / len(found) if found else math.nan

    return Corpus(n, weighted, part=mean_over_parts([one.drawn(n, rows) for one in categories]))


def evaluate(pairs: Iterable[tuple[Record, Prediction | None]], every_score: bool) -> Evaluation:
    """A variant over records and predictions.

    Args:
        pairs: records with their predictions.
        every_score: every category of every box is a detection, otherwise only its best one.
    """
    collected = Boxes()
    for record, prediction in pairs:
        collected.add(record, prediction)
    n = len(collected.boxes)
    answers = [best_category(scores) for scores in collected.scores]
    right = np.array([a == b for a, b in zip(answers, collected.categories, strict=True)], bool)
    groups = Groups()
    for category in collected.categories:
        groups.add(category)
    accuracy = Column.mean(right)
    detections = detect(collected, every_score)
    once = np.ones(n)
    columns: dict[str, Column | Corpus] = {
        "top1": accuracy,
        "top1_per_category": mean_over_groups(accuracy, groups.codes()),
        "ap": mean_average_precision(detections.values(), n, slice(None)),
        "ap50": mean_average_precision(detections.values(), n, slice(1)),
    }
    values = {name: one.average_precision(once, slice(None)) for name, one in detections.items()}
    details = {"average precision": values} if values else {}
    return Evaluation(columns, np.array(collected.invalid, bool), {"top1": right}, details)


REST = """\
Average precision is that of COCO's box evaluation (IoU .50:.95, 101 recall points, at most 100 detections of
a category per image), over the categories that occur. Accuracy = share of boxes whose best category is right
(the first by name of equal scores), over boxes and averaged over categories. A missing answer is wrong and
detects nothing; its box stays to be found."""
VARIANTS = {
    "recognition/top1": (
        f"""\
recognition/top1: category of given boxes. Each box is one detection: its best category with that score
(DynRefer, RegionGPT, ASM). Not comparable with the average precision of recognition/all. {REST}""",
        False,
    ),
    "recognition/all": (
        f"""\
recognition/all: category of given boxes. Every category that an answer scores is a detection of its box
(RegionCLIP). Not comparable with the average precision of recognition/top1. {REST}""",
        True,
    ),
}
LABELS = {"top1": "accuracy", "top1_per_category": "accuracy, mean of categories", "ap": "AP", "ap50": "AP50"}

for _id, (_text, _every) in VARIANTS.items():
    register(
        Protocol(
            id=_id,
            text=_text,
            evaluate=partial(evaluate, every_score=_every),
            labels=LABELS,
            task="recognition",
            answer="categories",
        )
    )
