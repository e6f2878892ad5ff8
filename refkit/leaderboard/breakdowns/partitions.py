"""The named breakdowns: each divides the samples into groups. Evaluation specification, 3.5.

Notation: ``n`` samples, ``t`` different texts, ``g`` groups. A sample that a breakdown cannot place (no
text, not exactly one target, unknown category) has the code -1 and stands in no group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from refkit.leaderboard.breakdowns.equal_rows import equal_rows
from refkit.leaderboard.breakdowns.objects import KnownObjects
from refkit.leaderboard.breakdowns.rules import Rules
from refkit.leaderboard.breakdowns.samples import Samples
from refkit.leaderboard.breakdowns.words import word_classes, word_counts
from refkit.metrics.boxes import box_area
from refkit.metrics.breakdown import Groups

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]

ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")
TARGETS = ("no target", "one target", "several targets")


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Groups of samples.

    Attributes:
        labels: ``g`` names of the groups, in the order in which they are shown.
        codes: ``(n,)`` index of the group of each sample, -1 for none.
    """

    labels: Sequence[str]
    codes: Codes

    @classmethod
    def of_groups(cls, groups: Groups) -> Partition:
        """Groups named by their labels."""
        return cls(groups.labels, groups.codes())

    @property
    def empty(self) -> bool:
        """Whether no sample is in any group."""
        return not bool((self.codes >= 0).any())

    def without_empty(self) -> Partition:
        """The same without groups that nobody is in."""
        counts = np.bincount(self.codes[self.codes >= 0], minlength=len(self.labels))
        kept = np.flatnonzero(counts)
        place = np.full(len(self.labels) + 1, -1, np.int64)
        place[kept] = np.arange(len(kept))
        return Partition([self.labels[index] for index in kept.tolist()], place[self.codes])


def partitions(
    samples: Samples, ids: Sequence[str], clusters: Codes, objects: KnownObjects, rules: Rules
) -> dict[str, Partition]:
    """All named breakdowns that these samples allow, in the order in which they are shown.

    Args:
        samples: what is known of every sample.
        ids: ``n`` ids of the records.
        clusters: ``(n,)`` number of the image.
        objects: the annotated objects of the images.
        rules: word lists and cuts.
    """
    found = _of_texts(samples, ids, clusters, rules) | _of_targets(samples, rules)
    found["same_class"] = _same_class(samples, clusters, objects, rules)
    found["targets"] = Partition(TARGETS, np.minimum(samples.target_counts, 2))
    if (found["targets"].codes == 1).all():
        del found["targets"]
    return {name: one.without_empty() for name, one in found.items() if not one.empty}


def _of_texts(samples: Samples, ids: Sequence[str], clusters: Codes, rules: Rules) -> dict[str, Partition]:
    """Breakdowns that depend on the text alone; each different text is looked at once."""
    texts = samples.texts
    known = np.array([text is not None for text in texts], bool)
    written = [text or "" for text in texts]
    lengths = _binned(word_counts(written), rules.cuts["length"]["upper"], first=1)
    found = {"length": lengths}
    for name, inside in word_classes(written, rules.words).items():
        found[name] = Partition(("with", "without"), np.where(inside, 0, 1))
    codes = samples.text_codes
    spread = {
        name: Partition(one.labels, np.where(known, one.codes, -1)[codes]) for name, one in found.items()
    }
    return spread | {"repetition": _repetition(samples, clusters, known[codes], ids)}


def _repetition(samples: Samples, clusters: Codes, known: NDArray[np.bool_], ids: Sequence[str]) -> Partition:
    """The first use of a text for an object, and its surplus copies, which everybody scores again.

    "First" is by id, so that the order of the file does not matter.
    """
    placed = np.flatnonzero(known & (samples.target_counts == 1))
    columns = [column[placed] for column in (*samples.boxes.T, samples.text_codes, clusters)]
    order, same = equal_rows(columns)
    use = np.concatenate(([0], np.cumsum(~same)))[: len(order)]
    shared = np.flatnonzero(np.bincount(use)[use] > 1) if len(use) else use
    rows = placed[order]
    codes = np.full(len(known), -1, np.int64)
    codes[placed] = 0
    by_id = sorted((int(use[place]), ids[rows[place]], int(rows[place])) for place in shared)
    codes[[after[2] for before, after in pairwise(by_id) if before[0] == after[0]]] = 1
    return Partition(("first use", "repeated text"), codes)


def _of_targets(samples: Samples, rules: Rules) -> dict[str, Partition]:
    boxes, sizes = samples.boxes, samples.sizes
    known = ~np.isnan(boxes[:, 0])
    area = np.where(known, box_area(np.nan_to_num(boxes)), 0.0)
    small, large = rules.cuts["size"]["cuts"]
    side = np.sqrt(area)
    size = Partition(
        (f"below {small}", f"{small} to {large}", f"above {large}"),
        np.where(side < small, 0, np.where(side <= large, 1, 2)),
    )
    cuts = rules.cuts["relative_area"]["cuts"]
    relative = Partition(_ranges(cuts), np.searchsorted(cuts, area / sizes.prod(axis=1), side="right"))
    names, codes = samples.categories
    human = np.array([name.lower() in rules.people for name in names] + [False])
    people = Partition(("people", "things"), np.where(codes < 0, -1, np.where(human[codes], 0, 1)))
    geometry = {"size": size, "relative_area": relative, "position": _position(boxes, sizes)}
    masked = {name: Partition(one.labels, np.where(known, one.codes, -1)) for name, one in geometry.items()}
    groups = samples.facts["category"]
    category = Partition.of_groups(groups) if names else Partition(names, codes)
    return masked | {"category": category, "people": people}


def _position(boxes: Floats, sizes: Floats) -> Partition:
    """Which ninth of the picture the centre of the target lies in."""
    centre = np.nan_to_num((boxes[:, :2] + boxes[:, 2:]) / 2 / sizes)
    third = np.clip((centre * 3).astype(np.int64), 0, 2)
    labels = [f"{row} {column}" for row in ROWS for column in COLUMNS]
    return Partition(labels, third[:, 1] * 3 + third[:, 0])


def _same_class(samples: Samples, clusters: Codes, objects: KnownObjects, rules: Rules) -> Partition:
    """Other objects of the target's class: as the records state it, else counted among all annotated ones."""
    stated, (names, categories) = samples.same_class, samples.categories
    upper = rules.cuts["same_class"]["upper"]
    if (stated >= 0).any() or not objects.complete:
        counts = stated
    else:
        width = max(len(names), int(objects.categories.max(initial=-1)) + 1) + 1
        image = np.repeat(np.arange(len(objects.first) - 1), np.diff(objects.first))
        table = np.bincount(
            image * width + objects.categories + 1, minlength=(len(objects.first) - 1) * width
        )
        seen = table[clusters * width + categories + 1]
        listed = table.reshape(-1, width).sum(axis=1)[clusters] > 0
        single = (samples.target_counts == 1) & (categories >= 0) & listed
        counts = np.where(single, np.maximum(seen - 1, 0), -1)
    binned = _binned(np.maximum(counts, 0), upper, first=0)
    return Partition(binned.labels, np.where(counts < 0, -1, binned.codes))


def _binned(counts: Codes, upper: Sequence[int], first: int) -> Partition:
    """Whole numbers in bins up to and including each bound: ``1-5, 6-7, 8-10, 11+``."""
    lows = [first, *(bound + 1 for bound in upper)]
    closed = [str(low) if low == high else f"{low}-{high}" for low, high in zip(lows, upper, strict=False)]
    return Partition([*closed, f"{lows[-1]}+"], np.searchsorted(upper, counts, side="left"))


def _ranges(cuts: Sequence[float]) -> list[str]:
    """``below 5 %``, ``5 to 10 %``, …"""
    shown = [f"{100 * cut:g}" for cut in cuts]
    between = [f"{low} to {high} %" for low, high in pairwise(shown)]
    return [f"below {shown[0]} %", *between, f"{shown[-1]} % and more"]


NAMES: Mapping[str, str] = {
    "length": "words in the expression",
    "place_words": "place words (left, behind, corner …)",
    "ordinals": "ordinals (second, third, last …)",
    "colours": "colours",
    "relations": "relations to other things",
    "negation": "negation",
    "comparatives": "comparatives and superlatives",
    "repetition": "repeated texts",
    "size": "square root of the target's area, pixels",
    "relative_area": "share of the picture covered by the target",
    "position": "position of the target in the picture",
    "category": "category",
    "people": "people and things",
    "same_class": "other objects of the same class",
    "targets": "number of targets",
}
"""What each breakdown is called in a table."""
