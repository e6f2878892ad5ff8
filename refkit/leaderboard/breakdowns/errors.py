"""What a wrong box has hit instead of the target.

Notation: ``n`` samples, ``m`` annotated objects of all images together, ``e`` misses, ``p`` pairs of a miss
and an object of its picture.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from refkit.leaderboard.breakdowns.objects import KnownObjects
from refkit.leaderboard.breakdowns.partitions import Partition
from refkit.leaderboard.breakdowns.rules import Rules
from refkit.leaderboard.breakdowns.samples import Samples
from refkit.metrics.boxes import clip_boxes, paired_iou, valid_boxes

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]

KINDS = (
    "hit",
    "wrong instance of the class",
    "object of another class",
    "another object, class unknown",
    "part of the target",
    "nothing",
    "no usable answer",
)
HIT, SAME, OTHER, UNCLEAR, PART, NOTHING, NO_ANSWER = range(len(KINDS))

PAIRS_AT_ONCE = 2_000_000
SAME_BOX = 0.1


def error_kinds(samples: Samples, clusters: Codes, objects: KnownObjects, rules: Rules) -> Partition:
    """The kind of every answer to an expression with one target, by IoU as in ``rec/1``.

    A miss that reaches the IoU of a hit with another object of the picture has found that object (the one of
    highest IoU, of the target's class where two are equal); else it is a part of the target if it reaches
    the lower bound with it, else nothing.

    Args:
        samples: targets and answers.
        clusters: ``(n,)`` number of the image.
        objects: annotated objects of the images.
        rules: both bounds of IoU.
    """
    bounds = rules.cuts["error_kinds"]
    answers = samples.answers
    usable = valid_boxes(answers)
    answers = clip_boxes(np.where(usable[:, None], answers, np.nan), samples.sizes)
    iou = paired_iou(answers, samples.boxes)
    codes = np.where(iou >= bounds["part"], PART, NOTHING)
    misses = np.flatnonzero(usable & (iou < bounds["hit"]) & (samples.target_counts == 1))
    _, categories = samples.categories
    found = _objects_hit(
        answers[misses], samples.boxes[misses], categories[misses], clusters[misses], objects, bounds["hit"]
    )
    codes[misses] = np.where(found >= 0, found, codes[misses])
    codes = np.where(iou >= bounds["hit"], HIT, np.where(usable, codes, NO_ANSWER))
    return Partition(KINDS, np.where(np.isnan(samples.boxes[:, 0]), -1, codes))


def _objects_hit(
    answers: Floats, targets: Floats, categories: Codes, images: Codes, objects: KnownObjects, bound: float
) -> Codes:
    """``(e,)`` `SAME`, `OTHER` or `UNCLEAR` where a miss has hit another object, else -1."""
    found = np.full(len(answers), -1, np.int64)
    counts = np.diff(objects.first)[images]
    ends = np.cumsum(counts)
    for start, stop in _chunks(ends):
        part = slice(start, stop)
        found[part] = _hit_in_chunk(
            answers[part], targets[part], categories[part], images[part], objects, bound
        )
    return found


def _chunks(ends: Codes) -> list[tuple[int, int]]:
    """Runs of misses with a bounded number of pairs."""
    if not len(ends):
        return []
    cuts = np.searchsorted(ends, np.arange(0, ends[-1], PAIRS_AT_ONCE)[1:], side="left") + 1
    edges = sorted({0, *cuts.tolist(), len(ends)})
    return list(pairwise(edges))


def _hit_in_chunk(
    answers: Floats, targets: Floats, categories: Codes, images: Codes, objects: KnownObjects, bound: float
) -> Codes:
    miss, other = _touching(answers, images, objects)
    iou = paired_iou(answers[miss], objects.boxes[other])
    is_target = (np.abs(objects.boxes[other] - targets[miss]) <= SAME_BOX).all(axis=1)
    reached = np.flatnonzero((iou >= bound) & ~is_target)
    kinds = _kinds(categories[miss[reached]], objects.categories[other[reached]])
    # the last one written wins: highest IoU, and among equals the target's own class
    order = reached[np.lexsort((-kinds, iou[reached]))]
    found = np.full(len(answers), -1, np.int64)
    found[miss[order]] = kinds[np.lexsort((-kinds, iou[reached]))]
    return found


def _touching(answers: Floats, images: Codes, objects: KnownObjects) -> tuple[Codes, Codes]:
    """``(p,)`` number of the miss and of the object, of all pairs within a picture that share an area."""
    counts = np.diff(objects.first)[images]
    miss = np.repeat(np.arange(len(answers)), counts)
    other = np.arange(len(miss)) + np.repeat(objects.first[images] - np.cumsum(counts) + counts, counts)
    for low, high in ((0, 2), (1, 3)):
        before = objects.boxes[:, low][other] < answers[:, high][miss]
        shared = np.flatnonzero(before & (answers[:, low][miss] < objects.boxes[:, high][other]))
        miss, other = miss[shared], other[shared]
    return miss, other


def _kinds(targets: Codes, objects: Codes) -> Codes:
    known = (targets >= 0) & (objects >= 0)
    return np.where(~known, UNCLEAR, np.where(targets == objects, SAME, OTHER))
