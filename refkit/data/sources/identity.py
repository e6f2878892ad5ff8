"""Names of records and images: ids for sources without any, image numbers, digests of source files."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from refkit.data import names
from refkit.data.records import Header, ImageRef
from refkit.data.sources.spec import SourceError

_NUMBER = re.compile(r"(\d+)$")

LICENCES = {
    "refcoco": "annotations: no explicit licence (REFER code Apache-2.0); images: Flickr terms",
    "refcocoplus": "annotations: no explicit licence (REFER code Apache-2.0); images: Flickr terms",
    "refcocog": "annotations: CC BY 4.0 (Google RefExp); images: Flickr terms",
    "refcoco-family": "annotations: as RefCOCO, RefCOCO+ and RefCOCOg, mixed; images: Flickr terms",
    "referit": "annotations: free for research; images (SAIAPR TC-12): research only",
    "flickr30k": "annotations and images: non-commercial research and education only",
    "vg": "CC BY 4.0",
    "coco": "annotations: CC BY 4.0; images: Flickr terms",
}
IMAGE_ROOTS = {
    "refcoco": "coco/train2014",
    "refcocoplus": "coco/train2014",
    "refcocog": "coco/train2014",
    "referit": "referit/images",
    "flickr30k": "flickr30k/images",
    "vg": "vg",
}


def image_number(file: str) -> int | None:
    """The number that ends a picture's name (``COCO_train2014_000000581857.jpg`` → 581857), None without."""
    found = _NUMBER.search(Path(file).stem)
    return int(found.group(1)) if found else None


def parse_set_name(name: str) -> tuple[str, str, str]:
    """Dataset, split-by and split of a set's name; usual spellings of known sets become the canonical one.

    Raises:
        SourceError: it has not three parts.
    """
    pieces = (names.recognise(name) or name).split(".")
    if len(pieces) != 3 or not all(pieces):
        raise SourceError(f"option name: expected <dataset>.<split_by>.<split>, got {name!r}.")
    return pieces[0], pieces[1], pieces[2]


def header_of_file(
    path: Path, name: str, task: str, image_root: str | None = None, extra: Mapping[str, Any] | None = None
) -> Header:
    """The header of the one set that a file holds.

    Args:
        path: of the file; its digest is kept.
        name: of the set, ``<dataset>.<split_by>.<split>``.
        task: what the records are for.
        image_root: of the pictures; None for the usual folder of the data set.
        extra: further keys.

    Raises:
        SourceError: the name has not three parts.
    """
    dataset, split_by, split = parse_set_name(name)
    return Header(
        dataset,
        split_by,
        split,
        task=[task],
        image_root=IMAGE_ROOTS.get(dataset, "") if image_root is None else image_root,
        licence=LICENCES.get(dataset, ""),
        source={path.name: file_digest(path)},
        extra=dict(extra or {}),
    )


def enclosing(boxes: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """The smallest xyxy box around all of them."""
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )


class IdAssigner:
    """Ids for one records file where the source has none (``docs/pages/sources.md``, "Ids").

    ``<set>.<split_by>.x<12 hex digits>`` of the SHA-256 over three lines: the image number (or file), the box
    at two decimals (of several boxes the enclosing one, so that both readings of Flickr30k share their ids;
    ``none`` without target), the NFC text. Repeats get ``-2``, ``-3`` … in file order.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._seen: Counter[str] = Counter()

    def assign(self, image: ImageRef, boxes: Sequence[Sequence[float]], text: str) -> str:
        """The id of the next expression."""
        corners = "none"
        if boxes:
            corners = ",".join(f"{round(value, 2) + 0.0:.2f}" for value in enclosing(boxes))
        picture = image.file if image.id is None else str(image.id)
        key = "\n".join((picture, corners, unicodedata.normalize("NFC", text)))
        name = f"{self._prefix}.x{hashlib.sha256(key.encode()).hexdigest()[:12]}"
        self._seen[name] += 1
        return name if self._seen[name] == 1 else f"{name}-{self._seen[name]}"


def file_digest(path: Path) -> str:
    """``sha256:<hex>`` of a file."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(files: Iterable[Path]) -> str:
    """``sha256:<hex>`` over names and contents of many files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return "sha256:" + digest.hexdigest()
