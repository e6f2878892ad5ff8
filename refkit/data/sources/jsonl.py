"""Plain JSON Lines, one object per referred object, with its expressions in a list.

``{"image", "width", "height", "dataset", "split_by", "split", "image_id", "ref_id", "ann_id", "sent_ids",
"region_id", "expressions", "bbox" [x, y, w, h], "bboxes", "segmentation", "no_target", "category"}``; one
file may mix sets and splits, every one becomes a records file of its own. Fields not named here are kept
beside the record, unless they look like a misspelt one of these.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from refkit.data.json_object import describe
from refkit.data.records import Header, ImageRef, Record, Target
from refkit.data.sources.fields import FieldError, explain, reject_misspelt
from refkit.data.sources.geometry import Box, GeometryError, check_box, from_xywh, unite
from refkit.data.sources.identity import (
    IMAGE_ROOTS,
    LICENCES,
    IdAssigner,
    enclosing,
    file_digest,
    parse_set_name,
)
from refkit.data.sources.readfile import read_json_lines
from refkit.data.sources.spec import IMAGE_ROOT, SPLITS, Option, Part, Skips, SourceError, SourceSpec

_DATASETS = {
    "refcoco+": "refcocoplus",
    "flickr30k_entities": "flickr30k",
    "visual_genome": "vg",
    "refclef": "referit",
}
_SPLIT_BY = {"flickr30k": "entities", "vg": "1_2", "refcoco-family": "mixed"}
_READ = (
    *("image", "width", "height", "dataset", "split_by", "split", "image_id", "ref_id", "ann_id", "sent_ids"),
    *("region_id", "expressions", "bbox", "bboxes", "segmentation", "no_target", "category", "id"),
)

# Fields of other layouts, which look like those above and mean something else.
_OWN = ("entity_id", "category_id", "ann_ids")

Line = tuple[int, dict[str, Any]]


def set_of(entry: dict[str, Any]) -> tuple[str, str, str]:
    """Canonical dataset, split-by and split of a line."""
    dataset = str(entry.get("dataset") or "own")
    dataset = _DATASETS.get(dataset, dataset)
    split_by = str(entry.get("split_by") or _SPLIT_BY.get(dataset, "all"))
    return dataset, split_by, str(entry.get("split") or "all")


class _Lines:
    """Lines of one set to records."""

    def __init__(self, path: Path, merged: bool, skips: Skips) -> None:
        self._path, self._merged, self._skips = path, merged, skips

    def records(self, lines: Sequence[Line]) -> Iterator[Record]:
        """One record per expression."""
        assigners: dict[str, IdAssigner] = {}
        for number, entry in lines:
            prefix = ".".join(set_of(entry)[:2])
            ids = assigners.setdefault(prefix, IdAssigner(prefix))
            try:
                yield from self._expressions(number, entry, prefix, ids)
            except GeometryError as error:
                self._skips.reject(self._path, f"line {number}", str(error), f"bbox {entry.get('bbox')}")
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, SourceError):
                    raise
                self._skips.reject(self._path, f"line {number}", *explain(error, entry))

    def _expressions(
        self, number: int, entry: dict[str, Any], prefix: str, ids: IdAssigner
    ) -> Iterator[Record]:
        reject_misspelt(entry, _READ, _OWN)
        image = _image(entry)
        boxes = self._boxes(entry, image)
        targets = self._targets(entry, image, boxes)
        expressions = _list(entry, "expressions")
        if not expressions:
            self._skips.left_out["line without expressions"] += 1
            return
        sent_ids = (entry.get("sent_ids") and _list(entry, "sent_ids")) or _region_ids(entry, expressions)
        if sent_ids and len(sent_ids) != len(expressions):
            raise GeometryError(f"{len(expressions)} expressions have {len(sent_ids)} sent_ids")
        name = next(
            (
                entry[key]
                for key in ("ref_id", "region_id", "entity_id", "ann_id")
                if entry.get(key) is not None
            ),
            None,
        )
        # A line is one object even where nobody numbered it: it then goes by the id of its first expression.
        group = None if name is None else f"{prefix}.{name}"
        extra = {key: value for key, value in entry.items() if key not in _READ}
        for place, text in enumerate(expressions):
            if not isinstance(text, str) or not text.strip():
                self._skips.reject(self._path, f"line {number}, expression {place}", "the text is empty")
                continue
            identity = f"{prefix}.{sent_ids[place]}" if sent_ids else ids.assign(image, boxes, text)
            group = group or identity
            yield Record(
                id=identity,
                image=image,
                text=text,
                targets=targets,
                object=group,
                extra=extra,
            )

    def _boxes(self, entry: dict[str, Any], image: ImageRef) -> list[Box]:
        if entry.get("no_target"):
            if entry.get("bbox"):
                raise GeometryError("no_target is set, but there is a box")
            return []
        several = [entry["bbox"]] if entry.get("bboxes") is None else _list(entry, "bboxes")
        boxes = [from_xywh(box) for box in several]
        for box in boxes:
            check_box(box, image.width, image.height)
        if not boxes:
            raise GeometryError("there is no box, and no_target is not set")
        return boxes

    def _targets(self, entry: dict[str, Any], image: ImageRef, boxes: list[Box]) -> list[Target]:
        if not boxes:
            return []
        kept = [enclosing(boxes)] if self._merged else boxes
        mask = unite(entry.get("segmentation"), image.width, image.height) if len(kept) == 1 else None
        identity, category = entry.get("ann_id"), entry.get("category")
        return [Target(box=box, mask=mask, id=identity, category=category, any=len(kept) > 1) for box in kept]


def _image(entry: dict[str, Any]) -> ImageRef:
    if not isinstance(entry["image"], str):
        raise FieldError("image: expected the path of a picture", f"found {describe(entry['image'])}")
    return ImageRef(entry["image"], _pixels(entry, "width"), _pixels(entry, "height"), entry.get("image_id"))


def _pixels(entry: dict[str, Any], key: str) -> int:
    value = entry[key]
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise FieldError(f"{key}: expected a number of pixels", f"found {describe(value)}") from None


def _list(entry: dict[str, Any], key: str) -> list[Any]:
    """A field's list; a text would otherwise pass for the list of its letters."""
    value = entry[key]
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        raise FieldError(f"{key}: found a text, expected a list", repr(value[:40]))
    raise FieldError(f"{key}: found {describe(value)}, expected a list")


def _region_ids(entry: dict[str, Any], expressions: Sequence[str]) -> list[Any] | None:
    """A region's number names its expression where it has just one and the data set numbers regions (VG)."""
    region = entry.get("region_id")
    return [region] if isinstance(region, int) and len(expressions) == 1 else None


def read(
    paths: Sequence[Path],
    skips: Skips,
    *,
    splits: Sequence[str] = (),
    boxes: str = "any",
    name: str | None = None,
    image_root: str | None = None,
) -> list[Part]:
    """Parts of JSON Lines files, one per set and split; options as in `SPEC`.

    Raises:
        SourceError: a line is no JSON object, or nothing is left to write.
    """
    parts = []
    for path in paths:
        groups: dict[tuple[str, ...], list[Line]] = defaultdict(list)
        for number, entry in read_json_lines(path):
            full = set_of(entry)
            if not splits or full[2] in splits:
                groups[parse_set_name(name) if name else full].append((number, entry))
        if not groups:
            raise SourceError(f"{path} has no lines" + (f" of split {', '.join(splits)}." if splits else "."))
        digest = file_digest(path)
        for (dataset, split_by, split), lines in sorted(groups.items()):
            header = Header(
                dataset,
                split_by,
                split,
                task=["rec", "res"] if any(entry.get("segmentation") for _, entry in lines) else ["rec"],
                image_root=IMAGE_ROOTS.get(dataset, "") if image_root is None else image_root,
                licence=LICENCES.get(dataset, ""),
                source={path.name: digest},
            )
            own = skips.fork()
            parts.append(Part(header, _Lines(path, boxes == "merged", own).records(lines), own, len(lines)))
    return parts


SPEC = SourceSpec(
    name="jsonl",
    help="JSON Lines with one referred object per line and its expressions in a list (.jsonl or .jsonl.gz).",
    paths="one or several .jsonl or .jsonl.gz files",
    options=(
        SPLITS,
        Option(
            "boxes",
            str,
            "any",
            "Of a phrase with several boxes: keep all ('any') or the enclosing one ('merged').",
            ("any", "merged"),
        ),
        Option(
            "name",
            str,
            None,
            "Write all lines into this one set, as in mine.own.train (default: by the lines' own fields).",
        ),
        IMAGE_ROOT,
    ),
    read=read,
)
