"""What a records file holds: `Header`, `Record`, `Target`, `ImageRef`, and the error that names its place.

Import these from `refkit.data.records`, which also reads and writes the files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from refkit.data.line_error import LineError

FORMAT = "refkit.records/1"
TASKS = ("rec", "res", "grec", "gres", "caption", "densecap", "attributes", "recognition")


class RecordError(LineError):
    """A records file that cannot be used as it is; see `LineError` for its place."""


@dataclass(slots=True)
class ImageRef:
    """The picture of a record.

    Attributes:
        file: path below the image root.
        width: of the original image, in pixels.
        height: of the original image, in pixels.
        id: the owner's number or name, None where there is none.
    """

    file: str
    width: int
    height: int
    id: int | str | None = None

    def to_json(self) -> dict[str, Any]:
        """The image as a JSON object; an absent id is left out."""
        fields = {"file": self.file, "id": self.id, "width": self.width, "height": self.height}
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(slots=True)
class Target:
    """One object that an expression means.

    Attributes:
        box: xyxy float pixels of the original image, never clipped; None for mask-only sources.
        mask: COCO compressed RLE ``{"size": [height, width], "counts": str}`` of the united parts.
        id: the owner's annotation number.
        category: class name.
        any: True where hitting any one of the targets is right (Flickr30k any-box).
        polygons: the source's polygons, kept on request.
    """

    box: tuple[float, float, float, float] | None = None
    mask: dict[str, Any] | None = None
    id: int | str | None = None
    category: str | None = None
    any: bool = False
    polygons: list[list[float]] | None = None

    def to_json(self) -> dict[str, Any]:
        """The target as a JSON object; absent fields are left out."""
        fields: dict[str, Any] = {
            "id": self.id,
            "box": None if self.box is None else [float(value) for value in self.box],
            "mask": self.mask,
            "category": self.category,
            "any": True if self.any else None,
            "polygons": self.polygons,
        }
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(slots=True)
class Record:
    """One expression or region. ``targets == []`` is a no-target expression.

    Attributes:
        id: unique; from the source (sentence id), not from position.
        image: the picture.
        text: the expression (None for region → text records).
        targets: all meant objects.
        object: groups the expressions of one object.
        ignore: RLE of an area that does not count.
        references: captions of the region.
        labels: attribute → 1 present, 0 absent; unknown ones are left out.
        facts: optional precomputed facts (words, place_word, kind, …).
        extra: fields this version does not know, kept as they were.
    """

    id: str
    image: ImageRef
    text: str | None = None
    targets: list[Target] = field(default_factory=list)
    object: str | None = None
    ignore: dict[str, Any] | None = None
    references: list[str] | None = None
    labels: dict[str, int] | None = None
    facts: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object; absent fields are left out, ``targets`` never."""
        fields: dict[str, Any] = {
            "id": self.id,
            "image": self.image.to_json(),
            "text": self.text,
            "targets": [target.to_json() for target in self.targets],
            "object": self.object,
            "ignore": self.ignore,
            "references": self.references,
            "labels": self.labels,
            "facts": self.facts,
        }
        return {name: value for name, value in fields.items() if value is not None} | self.extra


@dataclass(slots=True)
class Header:
    """First line of a records file; ``records``, ``images`` and the digests are filled by `write_records`.

    Attributes:
        dataset: ``refcoco``, ``refcocoplus``, ``refcocog``, ``referit``, ``flickr30k``, ``refshapes``, …
        split_by: ``unc``, ``umd``, ``google``, ``berkeley``, ``entities``, …
        split: ``train``, ``val``, ``testA``, ….
        task: among ``rec, res, grec, gres, caption, densecap, attributes, recognition``.
        image_root: where the pictures are, below the data root.
    """

    dataset: str
    split_by: str
    split: str
    task: list[str] = field(default_factory=lambda: ["rec"])
    records: int = 0
    images: int = 0
    image_root: str = ""
    licence: str = ""
    source: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    digest_masks: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``<dataset>.<split_by>.<split>``."""
        return f"{self.dataset}.{self.split_by}.{self.split}"

    def to_json(self) -> dict[str, Any]:
        """The header line as a JSON object."""
        fields: dict[str, Any] = {
            "format": FORMAT,
            "dataset": self.dataset,
            "split_by": self.split_by,
            "split": self.split,
            "task": list(self.task),
            "records": self.records,
            "images": self.images,
            "image_root": self.image_root,
            "licence": self.licence,
            "source": dict(self.source),
        }
        digests = {"digest": self.digest, "digest_masks": self.digest_masks}
        return fields | {name: value for name, value in digests.items() if value} | self.extra


def dump_line(fields: dict[str, Any]) -> bytes:
    """One line of a JSON Lines file, with its line feed.

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot hold.
    """
    return (json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")) + "\n").encode()
