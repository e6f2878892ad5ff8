"""The REFER distribution: RefCOCO, RefCOCO+, RefCOCOg and RefCLEF as ``refs(*).p`` with ``instances.json``.

``refs(<split by>).p`` is a list, pickled by Python 2, of ``{ref_id, ann_id, category_id, image_id, split,
file_name, sent_ids, sentences}`` with ``sentences = [{raw, sent, sent_id, tokens}]``; ``instances.json`` is
COCO's layout, in RefCLEF with RLE masks. All published numbers use ``sent``; ``raw`` is kept beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from refkit.data.json_object import describe
from refkit.data.records import Header, ImageRef, Record, Target
from refkit.data.safe_pickle import load_plain_pickle
from refkit.data.sources.fields import explain, which_are_there
from refkit.data.sources.geometry import GeometryError, check_box, from_xywh, unite
from refkit.data.sources.identity import IMAGE_ROOTS, LICENCES, IdAssigner, file_digest
from refkit.data.sources.readfile import read_json
from refkit.data.sources.spec import (
    IMAGE_ROOT,
    SPLITS,
    Option,
    Part,
    Skips,
    SourceError,
    SourceSpec,
    one_path,
)

FOLDERS = {"refcoco": "refcoco", "refcoco+": "refcocoplus", "refcocog": "refcocog", "refclef": "referit"}
_REFS = re.compile(r"refs\((\w+)\)\.p$")
Kind = TypeVar("Kind")
_SPLIT_ORDER = ("train", "val", "test", "testA", "testB", "testC")


@dataclass(frozen=True)
class Instances:
    """``instances.json``, by number: images, annotations, category names."""

    images: dict[int, ImageRef]
    annotations: dict[int, dict[str, Any]]
    categories: dict[int, str]


def read_instances(path: Path) -> Instances:
    """Read COCO's layout.

    Raises:
        SourceError: a key is missing, or an id stands twice in one list.
    """
    return instances_of(path, read_json(path, dict))


def instances_of(path: Path, data: dict[str, Any]) -> Instances:
    """The same from what was read already; ``path`` is for messages."""
    images = _listed(path, data, "images", _coco_image)
    annotations = _listed(path, data, "annotations", lambda entry: entry)
    categories = _listed(path, {"categories": [], **data}, "categories", lambda entry: str(entry["name"]))
    return Instances(images, annotations, categories)


def _coco_image(entry: dict[str, Any]) -> ImageRef:
    return ImageRef(str(entry["file_name"]), int(entry["width"]), int(entry["height"]), int(entry["id"]))


def _listed(
    path: Path, data: dict[str, Any], key: str, make: Callable[[dict[str, Any]], Kind]
) -> dict[int, Kind]:
    """What is made of the entries of a list, by number; a picture or category may stand twice if it is equal.

    Raises:
        SourceError: there is no such list, an entry lacks a field, or an id stands twice.
    """
    entries = data.get(key)
    if not isinstance(entries, list):
        there = which_are_there(key, data)
        raise SourceError(f"{path}: this is not COCO's layout: there is no list {key!r} ({there}).")
    found: dict[int, Kind] = {}
    for place, entry in enumerate(entries):
        number, made = _numbered(path, f"{key}[{place}]", entry, make)
        if number in found and (key == "annotations" or found[number] != made):
            first = next(index for index, other in enumerate(entries) if int(other["id"]) == number)
            raise SourceError(
                f"{path}: {key}: the id {number} stands twice, at {key}[{first}] and {key}[{place}]; "
                "give every entry an id of its own."
            )
        found[number] = made
    return found


def _numbered(path: Path, place: str, entry: Any, make: Callable[[dict[str, Any]], Kind]) -> tuple[int, Kind]:
    if not isinstance(entry, dict):
        found = describe(entry)
        raise SourceError(f"{path}: this is not COCO's layout: {place}: found {found}, expected an object.")
    try:
        return int(entry["id"]), make(entry)
    except (KeyError, TypeError, ValueError) as error:
        reason, detail = explain(error, entry)
        raise SourceError(f"{path}: this is not COCO's layout: {place}: {reason} ({detail}).") from error


def image_of(file_name: str) -> str:
    """``file_name`` of a reference without its annotation number: ``…581857_16.jpg`` → ``…581857.jpg``."""
    path = Path(file_name)
    stem, _, number = path.stem.rpartition("_")
    return f"{stem}{path.suffix}" if stem and number.isdigit() else path.name


def split_names(held: str) -> tuple[str, ...]:
    """The splits that a ``split`` string belongs to: ``testAB`` of RefCLEF is in testA and in testB."""
    letters = held.removeprefix("test")
    if held.startswith("test") and len(letters) > 1 and letters.isupper():
        return tuple(f"test{letter}" for letter in letters)
    return (held,)


def in_split(held: str, wanted: str) -> bool:
    """REFER's own rule: ``test`` means "contains test", testA to testC go by letter, others are exact."""
    if wanted == "test":
        return "test" in held
    return held == wanted or wanted in split_names(held)


class _Converter:
    """References of one file to records."""

    def __init__(self, path: Path, prefix: str, instances: Instances, skips: Skips, polygons: bool) -> None:
        self._path, self._prefix, self._skips, self._polygons = path, prefix, skips, polygons
        self._instances = instances

    def records(self, refs: Sequence[tuple[int, dict[str, Any]]]) -> Iterator[Record]:
        """One record per sentence, in file order."""
        ids = IdAssigner(self._prefix)
        for number, ref in refs:
            try:
                yield from self._sentences(number, ref, ids)
            except GeometryError as error:
                entry = f"entry {number}, ref_id {ref.get('ref_id')}, ann_id {ref.get('ann_id')}"
                box = self._instances.annotations.get(ref.get("ann_id", -1), {}).get("bbox")
                self._skips.reject(self._path, entry, str(error), f"bbox {box}")
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, SourceError):
                    raise
                self._skips.reject(self._path, f"entry {number}", *explain(error, ref))

    def _sentences(self, number: int, ref: dict[str, Any], ids: IdAssigner) -> Iterator[Record]:
        found = self._look_up(number, ref)
        if found is None:
            return
        image, target = found
        ref_id = ref.get("ref_id")
        for place, sentence in enumerate(ref["sentences"]):
            text = sentence["sent"]
            if not isinstance(text, str) or not text.strip():
                self._skips.reject(
                    self._path, f"entry {number}, ref_id {ref_id}, sentence {place}", "the text is empty"
                )
                continue
            sent_id = sentence.get("sent_id")
            boxes = [] if target.box is None else [target.box]
            yield Record(
                id=ids.assign(image, boxes, text) if sent_id is None else f"{self._prefix}.{sent_id}",
                image=image,
                text=text,
                targets=[target],
                object=None if ref_id is None else f"{self._prefix}.{ref_id}",
                extra={"raw": sentence["raw"]} if sentence.get("raw") is not None else {},
            )

    def _look_up(self, number: int, ref: dict[str, Any]) -> tuple[ImageRef, Target] | None:
        """Image and target of a reference; None once it has been rejected."""
        entry = f"entry {number}, ref_id {ref.get('ref_id')}"
        image = self._instances.images.get(ref["image_id"])
        annotation = self._instances.annotations.get(ref["ann_id"])
        if image is None:
            self._skips.reject(
                self._path, entry, "its image is not in instances.json", f"image_id {ref['image_id']}"
            )
            return None
        if annotation is None:
            self._skips.reject(
                self._path, entry, "its annotation is not in instances.json", f"ann_id {ref['ann_id']}"
            )
            return None
        if annotation["image_id"] != image.id:
            self._skips.reject(
                self._path, entry, "its annotation belongs to another image", f"ann_id {ref['ann_id']}"
            )
            return None
        if "file_name" in ref and image_of(ref["file_name"]) != Path(image.file).name:
            self._skips.reject(
                self._path, entry, "file_name and image_id mean two images", str(ref["file_name"])
            )
            return None
        return image, self._target(annotation, image)

    def _target(self, annotation: dict[str, Any], image: ImageRef) -> Target:
        box = from_xywh(annotation["bbox"])
        check_box(box, image.width, image.height)
        parts = annotation.get("segmentation")
        outlined = bool(self._polygons and parts and isinstance(parts[0], list))
        return Target(
            box=box,
            mask=unite(parts, image.width, image.height),
            id=annotation["id"],
            category=self._instances.categories.get(annotation.get("category_id", -1)),
            polygons=parts if outlined else None,
        )


def _refs_files(path: Path, split_by: str | None) -> list[Path]:
    if path.is_file():
        return [path]
    pattern = f"refs({split_by}).p" if split_by else "refs(*).p"
    found = sorted(path.glob(pattern))
    if not found:
        held = ", ".join(sorted(entry.name for entry in path.iterdir())[:10]) or "nothing"
        raise SourceError(
            f"{path} has no {pattern}; it holds {held}. Give the unpacked folder, as in refcoco/."
        )
    return found


def _read_refs(path: Path) -> list[dict[str, Any]]:
    refs = load_plain_pickle(path)
    if not isinstance(refs, list) or not all(isinstance(ref, dict) and "split" in ref for ref in refs):
        raise SourceError(
            f"{path}: expected a list of references with a 'split' each; this is another pickle."
        )
    return refs


def _choose_splits(refs: Sequence[dict[str, Any]], wanted: Sequence[str], path: Path) -> list[str]:
    present = {name for ref in refs for name in split_names(str(ref["split"]))}
    order = {name: place for place, name in enumerate(_SPLIT_ORDER)}
    if not wanted:
        return sorted(present, key=lambda name: (order.get(name, len(order)), name))
    for split in wanted:
        if not any(in_split(name, split) for name in present):
            raise SourceError(f"{path} has no split {split!r}; it has {', '.join(sorted(present))}.")
    return list(wanted)


def _set_name(path: Path, dataset: str | None, split_by: str | None) -> tuple[str, str]:
    """Dataset and split-by of a refs file, from the options or from folder and file name."""
    name = dataset or FOLDERS.get(path.parent.name)
    found = _REFS.search(path.name)
    by = split_by or (found.group(1) if found else None)
    if name is None or by is None:
        raise SourceError(
            f"{path}: folder and file do not say which set this is ({', '.join(FOLDERS)} with refs(unc).p or "
            "the like were expected); give --dataset and --split-by."
        )
    return FOLDERS.get(name, name), by


def read(
    paths: Sequence[Path],
    skips: Skips,
    *,
    dataset: str | None = None,
    split_by: str | None = None,
    splits: Sequence[str] = (),
    instances: Path | None = None,
    polygons: bool = False,
    image_root: str | None = None,
) -> list[Part]:
    """Parts of one REFER folder, one per split-by and split; options as in `SPEC`.

    Raises:
        SourceError: a file is missing or of another layout.
        UnsafePickleError: the pickle holds more than plain data.
    """
    path = one_path(paths, "the folder of one set (as in refcoco/) or one refs(*).p")
    files = _refs_files(path, split_by)
    coco_path = instances or files[0].parent / "instances.json"
    coco = read_instances(coco_path)
    coco_digest = file_digest(coco_path)
    parts = []
    for file in files:
        refs = _read_refs(file)
        name, by = _set_name(file, dataset, split_by)
        source = {file.name: file_digest(file), coco_path.name: coco_digest}
        for split in _choose_splits(refs, splits, file):
            chosen = [(number, ref) for number, ref in enumerate(refs) if in_split(str(ref["split"]), split)]
            header = Header(
                name,
                by,
                split,
                task=["rec", "res"] if _has_masks(chosen, coco) else ["rec"],
                image_root=image_root or IMAGE_ROOTS.get(name, ""),
                licence=LICENCES.get(name, ""),
                source=source,
            )
            own = skips.fork()
            converter = _Converter(file, f"{name}.{by}", coco, own, polygons)
            parts.append(Part(header, converter.records(chosen), own, len(chosen)))
    return parts


def _has_masks(refs: Sequence[tuple[int, dict[str, Any]]], coco: Instances) -> bool:
    return any(coco.annotations.get(ref.get("ann_id", -1), {}).get("segmentation") for _, ref in refs)


SPEC = SourceSpec(
    name="refer",
    help="RefCOCO, RefCOCO+, RefCOCOg and RefCLEF of the REFER distribution (refs(*).p with instances.json).",
    paths="the folder of one set (refcoco, refcoco+, refcocog, refclef), or one refs(*).p",
    options=(
        Option(
            "dataset",
            str,
            None,
            "Set, where the folder's name does not say it.",
            (*FOLDERS, "refcocoplus", "referit"),
        ),
        Option(
            "split_by",
            str,
            None,
            "Only this division: unc, umd, google, berkeley (default: all in the folder).",
        ),
        SPLITS,
        Option("instances", Path, None, "instances.json, where it is not beside the refs file."),
        Option("polygons", bool, False, "Keep the source's polygons beside the united mask."),
        IMAGE_ROOT,
    ),
    read=read,
)
