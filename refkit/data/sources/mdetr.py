"""COCO-style JSON whose picture entries are expressions: MDETR's and GLaMM's files of RefCOCOg.

Every entry of ``images`` has a ``caption``, and its annotations are what it means; a picture occurs once per
expression, under its own number as ``original_id`` where the file states it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from refkit.data.caption_text import normalise_caption
from refkit.data.records import ImageRef, Record, Target
from refkit.data.sources.fields import explain
from refkit.data.sources.geometry import GeometryError, check_box, from_xywh, unite
from refkit.data.sources.identity import header_of_file, image_number
from refkit.data.sources.readfile import read_json
from refkit.data.sources.region_records import TAG_LIST, TAGGER, CaptionFacts
from refkit.data.sources.spec import IMAGE_ROOT, Option, Part, Skips, SourceError, SourceSpec, one_path

_TASKS = ("rec", "caption")


class _Expressions:
    """Picture entries of one file to records."""

    def __init__(self, path: Path, prefix: str, task: str, facts: CaptionFacts, skips: Skips) -> None:
        self._path, self._prefix, self._task = path, prefix, task
        self._facts, self._skips = facts, skips

    def records(self, data: dict[str, Any]) -> Iterator[Record]:
        """One record per picture entry, in order."""
        meant: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for place, annotation in enumerate(data["annotations"]):
            try:
                meant[annotation["image_id"]].append(annotation)
            except (KeyError, TypeError) as error:
                self._skips.reject(self._path, f"annotation {place}", "it has no image_id", repr(error))
        for entry in data["images"]:
            try:
                yield self._one(entry, meant[entry["id"]])
            except GeometryError as error:
                self._skips.reject(self._path, f"picture entry {entry.get('id')}", str(error))
            except (KeyError, TypeError, ValueError) as error:
                self._skips.reject(self._path, f"picture entry {entry.get('id')}", *explain(error, entry))

    def _one(self, entry: dict[str, Any], annotations: Sequence[dict[str, Any]]) -> Record:
        number = entry.get("original_id", image_number(entry["file_name"]))
        image = ImageRef(entry["file_name"], int(entry["width"]), int(entry["height"]), number)
        text = entry["caption"]
        if not isinstance(text, str) or not text.strip():
            raise GeometryError("the caption is missing or empty")
        if not annotations:
            raise GeometryError("no annotation belongs to it")
        name = f"{self._prefix}.{entry['id']}"
        captions = [text] if self._task == "caption" else None
        return Record(
            id=name,
            image=image,
            text=None if captions else text,
            targets=[_target(annotation, image) for annotation in annotations],
            object=name,
            references=captions,
            facts=(self._facts.of([normalise_caption(text)]) or None) if captions else None,
        )


def _target(annotation: dict[str, Any], image: ImageRef) -> Target:
    box = from_xywh(annotation["bbox"])
    check_box(box, image.width, image.height)
    mask = unite(annotation.get("segmentation"), image.width, image.height)
    return Target(box=box, mask=mask, id=annotation.get("original_id", annotation.get("id")))


def read(
    paths: Sequence[Path],
    skips: Skips,
    *,
    name: str,
    task: str = "rec",
    tagger: str = "none",
    tag_list: Path | None = None,
    image_root: str | None = None,
) -> list[Part]:
    """The one part of a file; options as in `SPEC`.

    Raises:
        SourceError: the file is missing or of another layout.
    """
    path = one_path(paths, "a JSON file whose images have captions")
    data = read_json(path, dict)
    if not all(isinstance(data.get(key), list) for key in ("images", "annotations")):
        held = ", ".join(map(str, data)) or "nothing"
        raise SourceError(
            f"{path}: this is not COCO's layout: images and annotations are expected; there are {held}."
        )
    facts = CaptionFacts(tagger, tag_list)
    header = header_of_file(path, name, task, image_root, facts.summary)
    reader = _Expressions(path, f"{header.dataset}.{header.split_by}", task, facts, skips)
    return [Part(header, reader.records(data), skips, len(data["images"]))]


SPEC = SourceSpec(
    name="mdetr",
    help="MDETR's and GLaMM's files of RefCOCO sets: COCO-style JSON with a caption per picture entry.",
    paths="one JSON file, such as finetune_refcocog_train.json or finetune_refcocog_val_captions.json",
    options=(
        Option("name", str, None, "Name of the set to write, <dataset>.<split_by>.<split>.", required=True),
        Option("task", str, "rec", "Expressions, or captions of regions.", _TASKS),
        TAGGER,
        TAG_LIST,
        IMAGE_ROOT,
    ),
    read=read,
)
