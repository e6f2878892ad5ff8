"""`refkit data audit`: which evaluation pictures a training set has seen, by image number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from refkit.data.image_sets import ImageSet, Picture
from refkit.data.look_alikes import HashReport


@dataclass(frozen=True, slots=True)
class Overlap:
    """What one evaluation set shares with the training pictures."""

    images: int
    images_in_training: int
    expressions: int | None
    expressions_on_training_images: int | None

    def to_json(self) -> dict[str, int | None]:
        """Field by field."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class AuditReport:
    """Overlap of training and evaluation.

    Attributes:
        train: names of the training sets.
        train_images: different pictures in them.
        train_images_that_are_evaluation_images: of any evaluation set.
        train_images_left: after taking those out.
        evaluation: overlap per evaluation set.
        hashes: comparison by content, None where it was not asked for.
    """

    train: list[str]
    train_images: int
    train_images_that_are_evaluation_images: int
    train_images_left: int
    evaluation: dict[str, Overlap]
    hashes: HashReport | None = None

    def to_json(self) -> dict[str, Any]:
        """In the layout of the reference numbers (evaluation spec 1.2)."""
        fields = ("train", "train_images", "train_images_that_are_evaluation_images", "train_images_left")
        return {name: getattr(self, name) for name in fields} | {
            "evaluation": {name: overlap.to_json() for name, overlap in self.evaluation.items()},
            "hashes": self.hashes and self.hashes.to_json(),
        }


def audit(train: Sequence[ImageSet], evaluation: Sequence[ImageSet]) -> AuditReport:
    """Count what evaluation shares with training, by image number.

    Numbers are compared within one numbering only: image 36979 of Flickr30k is not image 36979 of COCO.
    """
    seen = {picture for side in train for picture in side.pictures}
    evaluated = {picture for side in evaluation for picture in side.pictures}
    shared = len(seen & evaluated)
    return AuditReport(
        train=[side.name for side in train],
        train_images=len(seen),
        train_images_that_are_evaluation_images=shared,
        train_images_left=len(seen) - shared,
        evaluation={side.name: _overlap(side, seen) for side in evaluation},
    )


def _overlap(side: ImageSet, seen: set[Picture]) -> Overlap:
    hit = [picture for picture in side.pictures if picture in seen]
    on_seen = sum(side.pictures[picture] for picture in hit)
    return Overlap(
        images=len(side.pictures),
        images_in_training=len(hit),
        expressions=side.expressions if side.has_expressions else None,
        expressions_on_training_images=on_seen if side.has_expressions else None,
    )
