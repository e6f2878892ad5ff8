"""COCO-style JSON: ``images``, ``annotations`` with ``bbox`` [x, y, w, h], ``categories``.

Three things are made of it: expressions (task ``rec``, text in a field of the annotation), captions of
regions or of whole pictures (task ``caption``: the texts become references), and categories to recognise
(task ``recognition``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from refkit.data.records import ImageRef, Record, Target
from refkit.data.sources.fields import FieldError, explain
from refkit.data.sources.geometry import GeometryError, check_box, from_xywh, unite
from refkit.data.sources.identity import header_of_file
from refkit.data.sources.refer import Instances, read_instances
from refkit.data.sources.spec import IMAGE_ROOT, Option, Part, Skips, SourceError, SourceSpec, one_path

TASKS = ("rec", "caption", "recognition")


def texts_of(annotation: dict[str, Any], field: str) -> list[str]:
    """The texts of an annotation: its field holds one or a list.

    Raises:
        GeometryError: the field holds something else.
    """
    value = annotation.get(field)
    texts = [value] if isinstance(value, str) else list(value or ())
    if any(not isinstance(text, str) or not text.strip() for text in texts):
        raise GeometryError(f"the field {field!r} holds something other than text, or an empty text")
    return texts


class _Annotations:
    """Annotations of one file to records."""

    def __init__(
        self, path: Path, prefix: str, task: str, field: str, instances: Instances, skips: Skips
    ) -> None:
        self._path, self._prefix, self._task, self._field = path, prefix, task, field
        self._instances, self._skips = instances, skips

    def records(self, crowd: bool) -> Iterator[Record]:
        """Records in the order of the annotations."""
        for number, annotation in self._instances.annotations.items():
            if annotation.get("iscrowd") and not crowd:
                self._skips.left_out["crowd region"] += 1
                continue
            try:
                yield from self._one(number, annotation)
            except GeometryError as error:
                self._skips.reject(
                    self._path, f"annotation {number}", str(error), f"bbox {annotation.get('bbox')}"
                )
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, SourceError):
                    raise
                self._skips.reject(self._path, f"annotation {number}", *explain(error, annotation))

    def _one(self, number: int, annotation: dict[str, Any]) -> Iterator[Record]:
        image = self._image(annotation)
        target = self._target(number, annotation, image)
        texts = texts_of(annotation, self._field)
        if self._task != "recognition" and not texts:
            self._skips.left_out[f"annotation without {self._field!r}"] += 1
            return
        if self._task == "recognition" and target.category is None:
            raise GeometryError("the annotation has no category of the file's list")
        name = f"{self._prefix}.{number}"
        if self._task != "rec":
            references = texts if self._task == "caption" else None
            yield Record(id=name, image=image, targets=[target], object=name, references=references)
            return
        for place, text in enumerate(texts):
            suffix = f".{place}" if len(texts) > 1 else ""
            yield Record(id=name + suffix, image=image, text=text, targets=[target], object=name)

    def _image(self, annotation: dict[str, Any]) -> ImageRef:
        image = self._instances.images.get(annotation["image_id"])
        if image is None:
            raise GeometryError("its image is not in the file's list")
        return image

    def _target(self, number: int, annotation: dict[str, Any], image: ImageRef) -> Target:
        box = from_xywh(annotation["bbox"])
        check_box(box, image.width, image.height)
        mask = unite(annotation.get("segmentation"), image.width, image.height)
        return Target(box=box, mask=mask, id=number, category=self._category(annotation))

    def _category(self, annotation: dict[str, Any]) -> str | None:
        """The name of the category; None where none is stated, or the file has no list of them."""
        held, stated = self._instances.categories, annotation.get("category_id")
        if not held or stated is None:
            return None
        if stated not in held:
            reason = "its category_id is not in the file's list of categories"
            raise FieldError(reason, f"category_id {stated}")
        return held[stated]

    def pictures(self) -> Iterator[Record]:
        """One record per picture with all its captions, its box the whole picture (``captions_*.json``)."""
        captions: dict[int, list[str]] = defaultdict(list)
        for number, annotation in self._instances.annotations.items():
            try:
                captions[int(self._image(annotation).id or 0)] += texts_of(annotation, self._field)
            except GeometryError as error:
                self._skips.reject(self._path, f"annotation {number}", str(error))
        for number, texts in captions.items():
            image = self._instances.images[number]
            whole = Target(box=(0.0, 0.0, float(image.width), float(image.height)))
            yield Record(id=f"{self._prefix}.{number}", image=image, targets=[whole], references=texts)


def read(
    paths: Sequence[Path],
    skips: Skips,
    *,
    name: str,
    task: str = "rec",
    field: str = "caption",
    crowd: bool = False,
    image_root: str | None = None,
) -> list[Part]:
    """The one part of a COCO-style file; options as in `SPEC`.

    Raises:
        SourceError: the file is missing or of another layout.
    """
    path = one_path(paths, "a COCO-style JSON file")
    header = header_of_file(path, name, task, image_root)
    instances = read_instances(path)
    reader = _Annotations(path, f"{header.dataset}.{header.split_by}", task, field, instances, skips)
    whole = task == "caption" and not any("bbox" in entry for entry in instances.annotations.values())
    records = reader.pictures() if whole else reader.records(crowd)
    return [Part(header, records, skips, len(instances.annotations))]


SPEC = SourceSpec(
    name="coco",
    help="COCO-style JSON: expressions or captions in a field of the annotations, or categories.",
    paths="one JSON file with images, annotations and categories",
    options=(
        Option("name", str, None, "Name of the set to write, <dataset>.<split_by>.<split>.", required=True),
        Option("task", str, "rec", "What the records ask for.", TASKS),
        Option("field", str, "caption", "Field of an annotation that holds its text or list of texts."),
        Option("crowd", bool, False, "Keep crowd regions too (iscrowd = 1)."),
        IMAGE_ROOT,
    ),
    read=read,
)
