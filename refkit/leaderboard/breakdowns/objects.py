"""The annotated objects of the pictures: what a wrong box may have hit instead.

They come from a file of annotations (COCO ``instances.json``, or JSON Lines with one picture per line), else
from the records, which may list the objects of their scene (``facts["objects"]``) and know at least the
targets of all expressions about a picture. Notation: ``k`` images, ``m`` objects of all images together.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refkit.data.record_scan import iter_lines
from refkit.data.schema import RecordError
from refkit.leaderboard.breakdowns.equal_rows import equal_rows

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


class ObjectsError(ValueError):
    """A file of annotated objects that cannot be used."""


@dataclass(frozen=True, slots=True)
class SceneObjects:
    """The objects of one picture.

    Attributes:
        boxes: xyxy pixels.
        categories: one per box, empty where unknown.
    """

    boxes: Sequence[Sequence[float]]
    categories: Sequence[str]

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any], identity: str) -> SceneObjects:
        """From ``objects`` (boxes) and ``object_categories`` (names, optional) of the facts of a record.

        Raises:
            ObjectsError: they are not a list of boxes, or not one category per box.
        """
        boxes = facts["objects"]
        names = facts.get("object_categories") or [""] * (len(boxes) if isinstance(boxes, list) else 0)
        return cls(_checked(boxes, names, f"record {identity!r}: facts.objects"), names)


@dataclass(frozen=True, slots=True, eq=False)
class KnownObjects:
    """The objects of ``k`` images, one after the other.

    Attributes:
        boxes: ``(m, 4)`` xyxy pixels.
        categories: ``(m,)`` number of the category, -1 where unknown.
        first: ``(k + 1,)`` where the objects of each image start.
        source: where they come from, as the result states it.
        complete: all annotated objects are there, not only the targets of expressions.
    """

    boxes: Floats
    categories: Codes
    first: Codes
    source: str
    complete: bool

    @classmethod
    def of_scenes(
        cls,
        scenes: Mapping[str, SceneObjects],
        images: Sequence[str],
        category_numbers: Mapping[str, int],
        source: str,
    ) -> KnownObjects:
        """The objects of the images in their order; an image without a scene has none.

        Args:
            scenes: by file name of the picture.
            images: ``k`` file names.
            category_numbers: number of each category of the targets; others get numbers of their own.
            source: as the result shall state it.
        """
        numbers = dict(category_numbers) | {"": -1}
        found = [scenes.get(image) or SceneObjects((), ()) for image in images]
        codes = [numbers.setdefault(name, len(numbers)) for one in found for name in one.categories]
        boxes = [box for one in found for box in one.boxes]
        first = np.concatenate(([0], np.cumsum([len(one.boxes) for one in found]))).astype(np.int64)
        array = np.array(boxes, np.float64).reshape(-1, 4)
        return cls(array, np.array(codes, np.int64), first, source, complete=True)

    @classmethod
    def of_targets(cls, boxes: Floats, categories: Codes, clusters: Codes, images: int) -> KnownObjects:
        """The different targets of the records.

        Args:
            boxes: ``(n, 4)``; rows of NaN are left out.
            categories: ``(n,)``.
            clusters: ``(n,)`` number of the image.
            images: ``k``.
        """
        rows = np.flatnonzero(~np.isnan(boxes[:, 0]))
        order, same = equal_rows((*boxes[rows].T, categories[rows], clusters[rows]))
        first_uses = rows[order[np.concatenate((np.ones(min(len(order), 1), bool), ~same))]]
        kept = first_uses[np.argsort(clusters[first_uses], kind="stable")]
        counts = np.bincount(clusters[kept], minlength=images)
        first = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        return cls(boxes[kept], categories[kept], first, "targets of the records", complete=False)


def read_objects(path: str | os.PathLike[str], images: Sequence[str]) -> tuple[dict[str, SceneObjects], str]:
    """The objects of the pictures that are scored.

    Args:
        path: COCO ``instances.json``, or JSON Lines (``.gz`` or not) with ``image``, ``boxes`` as
            ``[x, y, w, h]`` and ``categories``. Pictures are recognised by the name of their file.
        images: file names of the pictures that are scored.

    Returns:
        Objects by file name, and ``sha256:…`` of the file.

    Raises:
        ObjectsError: the file is neither, or knows none of the pictures.
        RecordError: no such file, or a broken gzip stream.
    """
    wanted = {PurePosixPath(image).name: image for image in images}
    scenes = {wanted[name]: objects for name, objects in _scenes(path) if name in wanted}
    if not scenes:
        raise ObjectsError(f"{os.fspath(path)}: knows none of the {len(wanted):,} pictures that are scored")
    with Path(path).open("rb") as file:
        return scenes, f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _scenes(path: str | os.PathLike[str]) -> Iterator[tuple[str, SceneObjects]]:
    if Path(path).suffix == ".json":
        yield from _coco(path)
        return
    for number, _, line in iter_lines(path):
        where = f"{os.fspath(path)}:{number}"
        entry = _json(line, where)
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            raise ObjectsError(
                f"{where}: image: missing, expected an object with image, boxes and categories"
            )
        boxes, names = entry.get("boxes"), entry.get("categories")
        yield PurePosixPath(entry["image"]).name, _from_xywh(boxes, names, where)


def _coco(path: str | os.PathLike[str]) -> Iterator[tuple[str, SceneObjects]]:
    where = os.fspath(path)
    if not Path(path).is_file():
        raise RecordError("no such file", path=where)
    content = _json(Path(path).read_bytes(), where)
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= set(content):
        raise ObjectsError(f"{where}: expected COCO instances: images, annotations, categories")
    try:
        names = {one["id"]: one["name"] for one in content["categories"]}
        objects: dict[Any, list[tuple[Any, str]]] = {one["id"]: [] for one in content["images"]}
        for one in content["annotations"]:
            # a crowd is an area, not an object that a sentence could mean
            if not one.get("iscrowd"):
                objects[one["image_id"]].append((one["bbox"], names[one["category_id"]]))
        files = {one["id"]: one["file_name"] for one in content["images"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise ObjectsError(f"{where}: not COCO instances: {error!r} is missing or unknown") from None
    for identity, file in files.items():
        boxes = [box for box, _ in objects[identity]]
        yield PurePosixPath(file).name, _from_xywh(boxes, [name for _, name in objects[identity]], where)


def _json(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ObjectsError(f"{where}: not JSON: {error}") from None


def _from_xywh(boxes: Any, names: Any, where: str) -> SceneObjects:
    checked = _checked(boxes, names, where)
    return SceneObjects([(x, y, x + width, y + height) for x, y, width, height in checked], names)


def _checked(boxes: Any, names: Any, where: str) -> list[Any]:
    """Boxes with four finite numbers each, and one name per box.

    Raises:
        ObjectsError: they are not.
    """
    lists = isinstance(boxes, list) and isinstance(names, list)
    if not lists or len(boxes) != len(names) or not all(isinstance(name, str) for name in names):
        raise ObjectsError(f"{where}: expected a list of boxes and as many category names")
    for index, box in enumerate(boxes):
        fine = isinstance(box, list) and len(box) == 4
        if not fine or not all(type(value) in (int, float) and abs(value) < 1e9 for value in box):
            raise ObjectsError(f"{where}: boxes[{index}]: expected four numbers of pixels")
    return boxes
