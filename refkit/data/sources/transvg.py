"""TransVG-style ``.pth`` split lists in all generations: TransVG, CLIP-VG, HiVG, OneRef, and mixtures.

- kind ``transvg`` (also CLIP-VG). COCO sets: (file, mask file, xywh, text, attributes); ReferIt: (file, mask
  file, xyxy, text, attributes); Flickr30k: (file, xyxy, text).
- kind ``hivg`` (also OneRef). COCO sets: (file, {height, width}, xywh, text, polygons); ReferIt: (file, -,
  xyxy, text, -); Flickr30k: (file, xyxy, text).
- kind ``mixture`` (HiVG, OneRef). COCO sets as before; ReferIt: (file, 'referit', xywh, text, 'placeholder');
  Flickr30k: (file, 'flickr', xywh, text, 'placeholder').

The box convention changes with set and kind, without a mark in the file. So the kind has to be told, and the
boxes are checked against the image sizes under the reading that it implies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refkit.data import names
from refkit.data.records import Header, ImageRef, Record, Target
from refkit.data.safe_pickle import load_split_file
from refkit.data.sources.geometry import (
    TOLERANCE,
    Box,
    GeometryError,
    check_box,
    four_numbers,
    from_inclusive,
    from_xywh,
    unite,
)
from refkit.data.sources.identity import (
    IMAGE_ROOTS,
    LICENCES,
    IdAssigner,
    file_digest,
    image_number,
    parse_set_name,
)
from refkit.data.sources.sizes import ImageSizes
from refkit.data.sources.spec import IMAGE_ROOT, NAME, Option, Part, Skips, SourceError, SourceSpec

KINDS = ("transvg", "hivg", "mixture")
_MIXTURE_ROOTS = {
    "coco": IMAGE_ROOTS["refcoco"],
    "referit": IMAGE_ROOTS["referit"],
    "flickr": IMAGE_ROOTS["flickr30k"],
}


@dataclass(frozen=True)
class Entry:
    """One tuple of a split list, taken apart.

    Attributes:
        number: place in the list, from 0.
        family: ``coco``, ``referit`` or ``flickr``.
        file: name of the picture.
        raw_box: the four numbers as they stand.
        reading: ``xywh`` or ``xyxy``.
        text: the expression.
        size: width and height in pixels, where the entry has them.
        fifth: polygons, attributes, or a placeholder.
    """

    number: int
    family: str
    file: str
    raw_box: Box
    reading: str
    text: str
    size: tuple[int, int] | None
    fifth: Any


def family_of(name: str) -> str:
    """Which column of the table a set belongs to."""
    return {"referit": "referit", "flickr30k": "flickr"}.get(name.partition(".")[0], "coco")


def take_apart(number: int, entry: Any, kind: str, family: str) -> Entry:
    """One tuple of the file as an `Entry`.

    Raises:
        GeometryError: it has not the fields of this kind.
    """
    fields = 3 if family == "flickr" and kind != "mixture" else 5
    if not isinstance(entry, list | tuple) or len(entry) != fields:
        found = len(entry) if isinstance(entry, list | tuple) else type(entry).__name__
        raise GeometryError(f"kind {kind} has {fields} fields here, found {found}")
    if fields == 3:
        file, box, text = entry
        second, fifth = None, None
    else:
        file, second, box, text, fifth = entry
    if not isinstance(file, str) or not isinstance(text, str) or not text.strip():
        raise GeometryError("file name or text is missing")
    family = _family(second, kind, family)
    reading = "xywh" if kind == "mixture" or family == "coco" else "xyxy"
    return Entry(number, family, file, four_numbers(box), reading, text, _size(second), fifth)


def _family(second: Any, kind: str, family: str) -> str:
    """The entry's family; refuses a second field that another kind would have."""
    if kind == "mixture":
        if isinstance(second, dict):
            return "coco"
        if second in ("referit", "flickr"):
            return str(second)
        raise GeometryError(
            "the second field is neither a size nor 'referit' nor 'flickr': this is not kind mixture"
        )
    if second in ("referit", "flickr"):
        raise GeometryError(f"the second field is {second!r}: this looks like kind mixture")
    if family == "coco" and isinstance(second, dict) != (kind == "hivg"):
        other = "transvg" if kind == "hivg" else "hivg"
        raise GeometryError(f"the second field is {type(second).__name__}: this looks like kind {other}")
    return family


def _size(second: Any) -> tuple[int, int] | None:
    if not isinstance(second, dict):
        return None
    try:
        return int(second["width"]), int(second["height"])
    except (KeyError, TypeError, ValueError) as error:
        raise GeometryError("the size has no width and height") from error


def count_fits(boxes: np.ndarray, sizes: np.ndarray) -> dict[str, int]:
    """How many raw boxes make sense under either reading.

    Args:
        boxes: ``(N, 4)`` raw numbers.
        sizes: ``(N, 2)`` width and height in pixels.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    fits = {}
    for reading, corner in (("xywh", low + high), ("xyxy", high)):
        inside = (low >= -TOLERANCE) & (corner > low) & (corner <= sizes + TOLERANCE)
        fits[reading] = int(inside.all(1).sum())
    return fits


def check_reading(path: Path, kind: str, entries: Sequence[Entry], sizes: Sequence[tuple[int, int]]) -> None:
    """Refuse a file whose boxes fit the other reading better than the one that its kind implies.

    Raises:
        SourceError: with the reading, and the kinds, that would fit.
    """
    for family, reading in sorted({(entry.family, entry.reading) for entry in entries}):
        rows = [row for row, entry in enumerate(entries) if entry.family == family]
        boxes = np.array([entries[row].raw_box for row in rows], np.float64)
        fits = count_fits(boxes, np.array([sizes[row] for row in rows], np.float64))
        other = "xyxy" if reading == "xywh" else "xywh"
        if fits[other] > fits[reading]:
            bad = next(row for row in rows if not _fits_one(entries[row], sizes[row]))
            example = f"{list(entries[bad].raw_box)} in {sizes[bad][0]}x{sizes[bad][1]}"
            raise SourceError(
                f"{path}: kind {kind} reads the boxes of {family} pictures as {reading}, but only "
                f"{fits[reading]:,} of {len(rows):,} fit their images so, and {fits[other]:,} as {other} "
                f"(entry {entries[bad].number}: {example}). {_advice(family, other)}"
            )


def _fits_one(entry: Entry, size: tuple[int, int]) -> bool:
    return count_fits(np.array([entry.raw_box]), np.array([size]))[entry.reading] == 1


def _advice(family: str, reading: str) -> str:
    if family == "coco":
        return "COCO sets have xywh in every known kind: is the name of the set right?"
    kinds = "mixture" if reading == "xywh" else "transvg or hivg"
    return f"{reading} is what kind {kinds} has."


class _List:
    """Entries of one file to records."""

    def __init__(self, path: Path, prefix: str, kind: str, sizes: ImageSizes | None, skips: Skips) -> None:
        self._path, self._prefix, self._kind, self._sizes, self._skips = path, prefix, kind, sizes, skips

    def take_apart(self, raw: Sequence[Any], family: str) -> list[tuple[Entry, tuple[int, int]]]:
        """All entries with their image sizes, their reading checked."""
        pairs = []
        for number, item in enumerate(raw):
            try:
                entry = take_apart(number, item, self._kind, family)
                pairs.append((entry, entry.size or self._look_up(entry.file)))
            except GeometryError as error:
                self._skips.reject(self._path, f"entry {number}", str(error), str(item)[:200])
        check_reading(self._path, self._kind, [entry for entry, _ in pairs], [size for _, size in pairs])
        return pairs

    def _look_up(self, file: str) -> tuple[int, int]:
        if self._sizes is None:
            raise SourceError(
                f"{self._path}: the file holds no image sizes, and without them its boxes cannot be checked; "
                "give --sizes with the folder of pictures, instances.json, referit_imsize.json, or the "
                "Annotations of Flickr30k."
            )
        try:
            return self._sizes[file]
        except KeyError as error:
            raise GeometryError(f"the size of {file} is not known (from --sizes)") from error

    def records(self, pairs: Sequence[tuple[Entry, tuple[int, int]]], inclusive: bool) -> Iterator[Record]:
        """One record per entry."""
        ids = IdAssigner(self._prefix)
        for entry, size in pairs:
            try:
                box = _read_box(entry, inclusive)
                check_box(box, *size)
                parts = entry.fifth if entry.family == "coco" and self._kind != "transvg" else None
                mask = unite(parts, *size) if not isinstance(parts, str) else None
            except GeometryError as error:
                self._skips.reject(
                    self._path, f"entry {entry.number}", str(error), f"{list(entry.raw_box)} in {size}"
                )
                continue
            file = f"{_MIXTURE_ROOTS[entry.family]}/{entry.file}" if self._kind == "mixture" else entry.file
            image = ImageRef(file, *size, image_number(entry.file))
            words = (
                list(entry.fifth) if self._kind == "transvg" and isinstance(entry.fifth, list | tuple) else []
            )
            yield Record(
                id=ids.assign(image, [box], entry.text),
                image=image,
                text=entry.text,
                targets=[Target(box=box, mask=mask)],
                extra={"words": words} if words and all(isinstance(word, str) for word in words) else {},
            )


def _read_box(entry: Entry, inclusive: bool) -> Box:
    if entry.reading == "xywh":
        return from_xywh(entry.raw_box)
    return from_inclusive(entry.raw_box) if inclusive and entry.family == "referit" else entry.raw_box


def set_name(path: Path, name: str | None, kind: str) -> str:
    """``<dataset>.<split_by>.<split>`` from the option or the file's name (``unc+_testA.pth``).

    Raises:
        SourceError: neither says it.
    """
    if name is not None:
        return ".".join(parse_set_name(name))
    if kind == "mixture":
        return f"mixture.{kind}.{path.stem.rpartition('_')[2]}"
    try:
        return names.canonical(path.stem)
    except ValueError as error:
        raise SourceError(
            f"{path}: the file's name does not say which set it holds ({error}); give --name."
        ) from error


def read(
    paths: Sequence[Path],
    skips: Skips,
    *,
    kind: str,
    name: str | None = None,
    sizes: Path | None = None,
    inclusive: bool = True,
    image_root: str | None = None,
) -> list[Part]:
    """One part per ``.pth`` file; options as in `SPEC`.

    Raises:
        SourceError: a file is not of the kind, or its boxes do not fit the kind's reading.
        UnsafePickleError: a file holds more than plain data.
    """
    if not paths or (name is not None and len(paths) > 1):
        raise SourceError("give at least one .pth file, and with --name exactly one.")
    known = ImageSizes(sizes) if sizes is not None else None
    parts = []
    for path in paths:
        full = set_name(path, name, kind)
        dataset, split_by, split = full.split(".")
        raw = load_split_file(path)
        if not isinstance(raw, list | tuple) or not raw:
            found = "an empty list" if isinstance(raw, list | tuple) else type(raw).__name__
            raise SourceError(f"{path}: expected a list of tuples, found {found}.")
        own = skips.fork()
        reader = _List(path, f"{dataset}.{split_by}", kind, known, own)
        pairs = reader.take_apart(raw, family_of(full))
        masked = kind != "transvg" and any(
            isinstance(entry.fifth, list) and entry.fifth for entry, _ in pairs
        )
        header = Header(
            dataset,
            split_by,
            split,
            task=["rec", "res"] if masked else ["rec"],
            image_root=image_root or ("" if kind == "mixture" else IMAGE_ROOTS.get(dataset, "")),
            licence=LICENCES.get(dataset, ""),
            source={path.name: file_digest(path)},
            extra={"kind": kind},
        )
        parts.append(Part(header, reader.records(pairs, inclusive), own, len(pairs)))
    return parts


SPEC = SourceSpec(
    name="transvg",
    help="Split lists (.pth) of TransVG, CLIP-VG, HiVG and OneRef; their kind has to be told.",
    paths="one or several .pth files",
    options=(
        Option(
            "kind",
            str,
            None,
            "transvg (also CLIP-VG), hivg (also OneRef; single sets), or mixture (of HiVG, OneRef).",
            KINDS,
            required=True,
        ),
        NAME,
        Option(
            "sizes",
            Path,
            None,
            "Image sizes: folder of pictures, instances.json, referit_imsize.json, Flickr30k Annotations/, "
            "or records.",
        ),
        Option(
            "inclusive", bool, True, "ReferIt boxes (xyxy) are inclusive pixels, as in the source 'referit'."
        ),
        IMAGE_ROOT,
    ),
    read=read,
)
