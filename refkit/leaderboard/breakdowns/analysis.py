"""All breakdowns of one score: groups of samples, kinds of errors, histogram of IoU, calibration.

Notation: ``n`` samples, ``k`` images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refkit.leaderboard.breakdowns.cells import Columns, Interval, PendingCells, pending_cells
from refkit.leaderboard.breakdowns.errors import error_kinds
from refkit.leaderboard.breakdowns.objects import KnownObjects, SceneObjects
from refkit.leaderboard.breakdowns.partitions import NAMES, Partition, partitions
from refkit.leaderboard.breakdowns.rules import Rules, load_rules
from refkit.leaderboard.breakdowns.samples import Samples
from refkit.leaderboard.result import Analysis, Calibration, Cell
from refkit.leaderboard.statistics import ImageBootstrap
from refkit.metrics.breakdown import UNKNOWN
from refkit.metrics.protocol import Column, Evaluation

ALL = "all"
COMMON_FACTS = ("kind",)


class BreakdownError(ValueError):
    """A breakdown that the records do not allow."""


def facts_needed(by: Sequence[str]) -> list[str]:
    """The facts of records that the asked breakdowns read."""
    asked = [name for name in by if name not in NAMES and name != ALL]
    return [*asked, *(COMMON_FACTS if ALL in by else ())]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What all breakdowns of a score share.

    Attributes:
        samples: what is known of every sample.
        ids: ``n`` ids of the records.
        clusters: ``(n,)`` number of the image.
        images: ``k`` file names.
        objects: annotated objects from a file, by file name of the picture; None without such a file.
        objects_source: ``sha256:…`` of that file.
        places: answers are boxes or masks that may be right or wrong, not words about a given region; only
            then are there kinds of errors, and does the score of a box say how sure the answer is.
    """

    samples: Samples
    ids: Sequence[str]
    clusters: NDArray[np.int64]
    images: Sequence[str]
    objects: Mapping[str, SceneObjects] | None = None
    objects_source: str = ""
    places: bool = True

    def known_objects(self) -> KnownObjects:
        """The objects of the pictures from the best source at hand."""
        names, categories = self.samples.categories
        numbers = {name: number for number, name in enumerate(names)}
        if self.objects is not None:
            return KnownObjects.of_scenes(self.objects, self.images, numbers, self.objects_source)
        if self.samples.objects:
            return KnownObjects.of_scenes(self.samples.objects, self.images, numbers, "facts of the records")
        boxes = self.samples.boxes
        return KnownObjects.of_targets(boxes, categories, self.clusters, len(self.images))


@dataclass(frozen=True, slots=True, eq=False)
class PendingBreakdowns:
    """Everything that waits for the draws of the bootstrap."""

    by: Mapping[str, PendingCells]
    rules: Rules
    objects: KnownObjects
    errors: PendingCells | None
    histogram: PendingCells | None
    calibration: PendingCells | None

    def finish(self, intervals: Sequence[Interval | None]) -> tuple[dict[str, dict[str, Cell]], Analysis]:
        """The breakdowns by name, and the rest."""
        by = {name: cells.finish(intervals) for name, cells in self.by.items()}
        errors, histogram, bins = (
            {} if part is None else part.finish(intervals)
            for part in (self.errors, self.histogram, self.calibration)
        )
        analysis = Analysis(
            rules=self.rules.to_json(),
            objects=self.objects.source,
            objects_complete=self.objects.complete,
            errors=errors,
            iou_histogram=histogram,
            calibration=Calibration.of_bins(bins) if bins else None,
        )
        return by, analysis


def pending_breakdowns(
    by: Sequence[str], scene: Scene, evaluation: Evaluation, bootstrap: ImageBootstrap
) -> PendingBreakdowns:
    """Compute all values and register all intervals.

    Args:
        by: names of breakdowns or facts; ``all`` for every breakdown that the records allow.
        scene: samples, images, objects.
        evaluation: the metrics of every sample.
        bootstrap: takes the columns; its intervals go to `PendingBreakdowns.finish`.

    Raises:
        BreakdownError: a breakdown asked for by name of which no record knows anything.
    """
    rules, objects = load_rules(), scene.known_objects()
    found = partitions(scene.samples, scene.ids, scene.clusters, objects, rules)
    chosen = _chosen(by, found, scene.samples)
    columns = evaluation.columns
    answers_boxes = scene.places and bool(np.isfinite(scene.samples.answers).any())
    errors = error_kinds(scene.samples, scene.clusters, objects, rules) if answers_boxes else None
    return PendingBreakdowns(
        by={name: pending_cells(columns, part, bootstrap) for name, part in chosen.items()},
        rules=rules,
        objects=objects,
        errors=None if errors is None or errors.empty else _shares(errors, bootstrap),
        histogram=_histogram(evaluation, rules, bootstrap),
        calibration=_calibration(scene.samples, columns, rules, bootstrap) if answers_boxes else None,
    )


def hit_column(columns: Columns) -> tuple[str, Column] | None:
    """The first metric that is a share of hits: every sample counts one, and is right or wrong."""
    for name, column in columns.items():
        if isinstance(column, Column) and (column.denominator == 1).all():
            values = column.numerator
            if ((values == 0) | (values == 1)).all():
                return name, column
    return None


def _chosen(by: Sequence[str], found: Mapping[str, Partition], samples: Samples) -> dict[str, Partition]:
    facts = {name: groups for name, groups in samples.facts.items() if set(groups.labels) - {UNKNOWN}}
    chosen: dict[str, Partition] = {}
    for name in by:
        if name == ALL:
            chosen |= {fact: Partition.of_groups(facts[fact]) for fact in COMMON_FACTS if fact in facts}
            chosen |= {known: found[known] for known in NAMES if known in found}
        elif name in found:
            chosen[name] = found[name]
        elif name in facts:
            chosen[name] = Partition.of_groups(facts[name])
        else:
            raise BreakdownError(_why_not(name))
    return chosen


def _why_not(name: str) -> str:
    if name == "same_class":
        return (
            "no breakdown 'same_class' without all annotated objects of the pictures: "
            "give them with --objects FILE (COCO instances.json)"
        )
    return (
        f"no record has a fact {name!r} to break the score down by; "
        f"built-in breakdowns are {ALL}, {', '.join(NAMES)}"
    )


def _shares(partition: Partition, bootstrap: ImageBootstrap) -> PendingCells:
    """How many of all placed samples fall into each group."""
    placed = (partition.codes >= 0).astype(np.float64)
    columns = [Column((partition.codes == group) * 1.0, placed) for group in range(len(partition.labels))]
    places = [bootstrap.add(column) for column in columns]
    return PendingCells(
        partition.labels,
        [int(column.numerator.sum()) for column in columns],
        {"share": [column.value for column in columns]},
        {"share": places[0]},
    )


def _histogram(evaluation: Evaluation, rules: Rules, bootstrap: ImageBootstrap) -> PendingCells | None:
    iou = evaluation.per_sample.get("iou")
    if iou is None or iou.dtype.kind != "f" or iou.ndim != 1:
        return None
    bins = rules.cuts["iou_histogram"]["bins"]
    codes = np.where(np.isnan(iou), -1, np.clip(np.nan_to_num(iou) * bins, 0, bins - 1)).astype(np.int64)
    return _shares(Partition(_bin_labels(bins), codes), bootstrap)


def _calibration(
    samples: Samples, columns: Columns, rules: Rules, bootstrap: ImageBootstrap
) -> PendingCells | None:
    """Accuracy by score of the answer; None without scores between 0 and 1, or without hits."""
    scores, hits = samples.scores, hit_column(columns)
    scored = np.isfinite(scores)
    if hits is None or not scored.any() or scores[scored].min() < 0 or scores[scored].max() > 1:
        return None
    bins = rules.cuts["confidence"]["bins"]
    codes = np.where(scored, np.clip(np.nan_to_num(scores) * bins, 0, bins - 1), -1).astype(np.int64)
    both = {"accuracy": hits[1], "confidence": Column.mean(np.nan_to_num(scores))}
    return pending_cells(both, Partition(_bin_labels(bins), codes).without_empty(), bootstrap)


def _bin_labels(bins: int) -> list[str]:
    return [f"{place / bins:.1f} to {(place + 1) / bins:.1f}" for place in range(bins)]
