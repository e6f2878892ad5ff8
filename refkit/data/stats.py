"""`refkit data stats`: what a records file holds, and whether that equals what its authors published."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from refkit import rle
from refkit.data.names import KNOWN_COUNTS
from refkit.data.record_scan import RecordScan
from refkit.data.schema import Header, Record

# Cuts of expression length as in OneRef, of object size as in Ref-L4 (square root of the box area in pixels):
# COCO's size classes are useless here, nearly every referred object is "large" there.
_WORD_BINS = (("1-5", 5), ("6-7", 7), ("8-10", 10), ("11+", 10**9))
_SIZE_BINS = (("below 128", 127.999999), ("128-256", 256.0), ("above 256", float("inf")))


@dataclass(frozen=True, slots=True)
class CountCheck:
    """One published count beside the one found."""

    what: str
    published: int
    found: int

    @property
    def ok(self) -> bool:
        """Whether they are equal."""
        return self.published == self.found


@dataclass(slots=True)
class Stats:
    """Figures of one records file.

    Attributes:
        name: ``<dataset>.<split_by>.<split>``.
        expressions: records.
        objects: different objects (by `Record.object`, else by picture and boxes).
        images: different pictures.
        no_target: records without a target.
        several_targets: records with more than one target.
        masks: records of which every target has a mask.
        repeated_texts: surplus copies of a text for one object; they are scored twice by everybody.
        ambiguous_texts: expressions whose text names several different boxes of one picture.
        words: expression length in words: ``min, mean, median, max``.
        word_shares: share of records per length class.
        size_shares: share of targets per size class (square root of the box area, pixels).
        relative_area: mean share of the picture that a target's box covers.
        image_sizes: smallest and largest ``width x height`` by area.
        categories: number of targets per category, most frequent first.
        known: published counts, for sets that have any.
        digest: of the records.
        digest_masks: of the records with masks.
    """

    name: str
    expressions: int = 0
    objects: int = 0
    images: int = 0
    no_target: int = 0
    several_targets: int = 0
    masks: int = 0
    repeated_texts: int = 0
    ambiguous_texts: int = 0
    words: dict[str, float] = field(default_factory=dict)
    word_shares: dict[str, float] = field(default_factory=dict)
    size_shares: dict[str, float] = field(default_factory=dict)
    relative_area: float = 0.0
    image_sizes: tuple[str, ...] = ()
    categories: dict[str, int] = field(default_factory=dict)
    known: list[CountCheck] = field(default_factory=list)
    digest: str = ""
    digest_masks: str = ""

    @property
    def ok(self) -> bool:
        """Whether no published count is contradicted."""
        return all(count.ok for count in self.known)

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self) | {"ok": self.ok}


def stats_of_file(path: str | os.PathLike[str]) -> Stats:
    """Figures of a records file.

    Raises:
        RecordError: the file is not valid.
    """
    scan = RecordScan(path)
    return stats_of(scan.header, (record for _, _, record in scan))


def stats_of(header: Header, records: Iterable[Record]) -> Stats:
    """Figures of records and, where the set is known, the comparison with its published counts."""
    tally = _Tally()
    for record in records:
        tally.add(record)
    result = tally.result(header.name)
    result.known = known_counts(header.name, result)
    result.digest, result.digest_masks = header.digest, header.digest_masks
    return result


def known_counts(name: str, found: Stats) -> list[CountCheck]:
    """The published counts of a set (evaluation spec 1.1, 1.4, 1.5) beside those found, if any are known."""
    published = KNOWN_COUNTS.get(name)
    if published is None:
        return []
    return [
        CountCheck(what, count, getattr(found, what))
        for what in ("expressions", "objects", "images")
        if (count := getattr(published, what)) is not None
    ]


class _Tally:
    """Running figures; memory grows with the number of different objects and texts only."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._objects: set[object] = set()
        self._sizes: dict[str, tuple[int, int]] = {}
        self._texts: Counter[tuple[object, str]] = Counter()
        self._boxes_of_text: defaultdict[tuple[str, str], Counter[object]] = defaultdict(Counter)
        self._words: list[int] = []
        self._areas: list[tuple[float, float]] = []
        self._categories: Counter[str] = Counter()

    def add(self, record: Record) -> None:
        boxes = tuple(target.box for target in record.targets)
        place = (record.image.file, boxes)
        self._objects.add(record.object or place)
        self._sizes[record.image.file] = (record.image.width, record.image.height)
        self._counts["expressions"] += 1
        self._counts["no_target"] += not record.targets
        self._counts["several_targets"] += len(record.targets) > 1
        self._counts["masks"] += bool(record.targets) and all(target.mask for target in record.targets)
        if record.text is not None:
            self._words.append(len(record.text.split()))
            self._texts[(place, record.text)] += 1
            self._boxes_of_text[(record.image.file, record.text)][boxes] += 1
        for target in record.targets:
            self._add_target(record, target.box or (rle.bounds(target.mask) if target.mask else None))
            self._categories[target.category or ""] += 1

    def _add_target(self, record: Record, box: tuple[float, float, float, float] | None) -> None:
        if box is not None:
            area = (box[2] - box[0]) * (box[3] - box[1])
            self._areas.append((area, record.image.width * record.image.height))

    def result(self, name: str) -> Stats:
        areas = np.array(self._areas or np.zeros((0, 2)), np.float64)
        by_area = sorted(self._sizes.values(), key=lambda size: size[0] * size[1])
        categories = {label: count for label, count in self._categories.most_common() if label}
        return Stats(
            name=name,
            expressions=self._counts["expressions"],
            no_target=self._counts["no_target"],
            several_targets=self._counts["several_targets"],
            masks=self._counts["masks"],
            objects=len(self._objects),
            images=len(self._sizes),
            repeated_texts=sum(count - 1 for count in self._texts.values()),
            ambiguous_texts=sum(uses.total() for uses in self._boxes_of_text.values() if len(uses) > 1),
            words=_summary(self._words),
            word_shares=_shares(np.array(self._words, np.float64), _WORD_BINS),
            size_shares=_shares(np.sqrt(areas[:, 0]), _SIZE_BINS),
            relative_area=float((areas[:, 0] / areas[:, 1]).mean()) if len(areas) else 0.0,
            image_sizes=tuple(f"{width} x {height}" for width, height in by_area[:1] + by_area[-1:]),
            categories=categories,
        )


def _summary(values: list[int]) -> dict[str, float]:
    if not values:
        return {}
    array = np.array(values)
    return {
        "min": int(array.min()),
        "mean": float(array.mean()),
        "median": float(np.median(array)),
        "max": int(array.max()),
    }


def _shares(values: np.ndarray, bins: tuple[tuple[str, float], ...]) -> dict[str, float]:
    """Share of values per class; each class goes up to and including its bound."""
    if not len(values):
        return {}
    classes = np.searchsorted([bound for _, bound in bins], values, side="left")
    return {name: float((classes == index).mean()) for index, (name, _) in enumerate(bins)}
