"""The converted annotations of DynRefer and ControlCap: one COCO-like layout for all of their data sets.

Boxes are xyxy and not read, since the released loader takes the region from ``segmentation``. What a region
is called stands in ``caption``, its tags as numbers in ``extra_info.parser_result``, its class in
``coco_result``, its attributes in ``ovad_result``, a detector's score in ``grit_result``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from refkit.data.caption_text import normalise_caption
from refkit.data.records import ImageRef, Record, Target
from refkit.data.region_tags import TagListError, graph_tags
from refkit.data.sources.geometry import GeometryError, unite
from refkit.data.sources.identity import header_of_file
from refkit.data.sources.ovad import Attributes
from refkit.data.sources.readfile import read_json
from refkit.data.sources.refer import Instances, instances_of
from refkit.data.sources.region_records import (
    CAPTION_TASKS,
    TAG_LIST,
    TAGGER,
    CaptionFacts,
    Region,
    caption_records,
)
from refkit.data.sources.spec import IMAGE_ROOT, Option, Part, Skips, SourceSpec, one_path
from refkit.data.views import RegionError, region_box

_TASKS = (*CAPTION_TASKS, "recognition", "attributes")


class _Converted:
    """Annotations of one file."""

    def __init__(self, path: Path, instances: Instances, facts: CaptionFacts, skips: Skips) -> None:
        self._path, self._instances, self._facts, self._skips = path, instances, facts, skips

    def regions(self) -> Iterator[Region]:
        """Regions with captions, by the numbers of the annotations, which the files interleave."""
        yield from self._each(self._region)

    def records(self, prefix: str, attributes: Attributes | None) -> Iterator[Record]:
        """Regions to be recognised, or with attributes where these are given."""

        def make(number: int, entry: Mapping[str, Any]) -> Record:
            image, target = self._image(entry), self._target(number, entry)
            name = f"{prefix}.{number}"
            if attributes is None:
                if target.category is None:
                    raise GeometryError("the annotation has no class (extra_info.coco_result)")
                return Record(id=name, image=image, targets=[target], object=name)
            labels = attributes.labels(entry["extra_info"]["ovad_result"]["att_vec"])
            facts = {"attribute_groups": attributes.groups(labels)}
            return Record(id=name, image=image, targets=[target], object=name, labels=labels, facts=facts)

        yield from self._each(make)

    def _each(self, make: Callable[[int, Mapping[str, Any]], Any]) -> Iterator[Any]:
        for number, entry in sorted(self._instances.annotations.items()):
            try:
                yield make(number, entry)
            except (GeometryError, RegionError, TagListError) as error:
                self._skips.reject(self._path, f"annotation {number}", str(error))
            except (KeyError, TypeError, ValueError) as error:
                self._skips.reject(
                    self._path, f"annotation {number}", "a field is missing or of another type", repr(error)
                )

    def _region(self, number: int, entry: Mapping[str, Any]) -> Region:
        caption = entry["caption"]
        if not isinstance(caption, str):
            raise GeometryError("the caption is no text")
        tags = self._tags(entry.get("extra_info") or {})
        image = self._image(entry)
        return Region(number, image, self._target(number, entry), normalise_caption(caption), tags)

    def _tags(self, extra: Mapping[str, Any]) -> Sequence[str] | None:
        """Tags that the annotation states: numbers, or the scene graph that they were made from."""
        parsed, known = extra.get("parser_result"), self._facts.known
        if parsed is None or known is None:
            return None
        if "tag_set1" in parsed:
            return known.by_place([*parsed["tag_set1"], *parsed.get("tag_set2", ())])
        return graph_tags(parsed["graph"], known).all

    def _image(self, entry: Mapping[str, Any]) -> ImageRef:
        image = self._instances.images.get(entry["image_id"])
        if image is None:
            raise GeometryError("its image is not in the file's list")
        return image

    def _target(self, number: int, entry: Mapping[str, Any]) -> Target:
        image, outline = self._image(entry), entry["segmentation"]
        box = region_box(outline, image.width, image.height)
        mask = None if _is_box(outline) else unite(outline, image.width, image.height)
        result = (entry.get("extra_info") or {}).get("coco_result") or {}
        category = result.get("category")
        return Target(box=box, mask=mask, id=number, category=None if category is None else str(category))


def _is_box(outline: Any) -> bool:
    """Whether an outline is the rectangle that a box was turned into: no mask, then."""
    if not isinstance(outline, list) or len(outline) != 1 or len(outline[0]) != 8:
        return False
    xs, ys = set(outline[0][::2]), set(outline[0][1::2])
    return len(xs) <= 2 and len(ys) <= 2


def read(
    paths: Sequence[Path],
    skips: Skips,
    *,
    name: str,
    task: str = "caption",
    tagger: str = "none",
    tag_list: Path | None = None,
    image_root: str | None = None,
) -> list[Part]:
    """The one part of a file; options as in `SPEC`.

    Raises:
        SourceError: the file is missing or of another layout.
    """
    path = one_path(paths, "a converted annotation file, such as train.json")
    data, facts = read_json(path, dict), CaptionFacts(tagger, tag_list)
    stated = (data.get("dataset") or {}).get("image_root", "") if image_root is None else image_root
    folder = str(stated).removeprefix("data/").rstrip("/")
    header = header_of_file(path, name, task, folder, facts.summary)
    source = _Converted(path, instances_of(path, data), facts, skips)
    prefix = f"{header.dataset}.{header.split_by}"
    if task in CAPTION_TASKS:
        return [Part(header, caption_records(source.regions(), prefix, task, facts), skips)]
    attributes = Attributes(data.get("attrs") or ()) if task == "attributes" else None
    return [Part(header, source.records(prefix, attributes), skips)]


SPEC = SourceSpec(
    name="dynrefer",
    help="Converted annotations of DynRefer and ControlCap (data/*/dynrefer/*.json).",
    paths="one JSON file",
    options=(
        Option("name", str, None, "Name of the set to write, <dataset>.<split_by>.<split>.", required=True),
        Option("task", str, "caption", "What the records ask for.", _TASKS),
        TAGGER,
        TAG_LIST,
        IMAGE_ROOT,
    ),
    read=read,
)
