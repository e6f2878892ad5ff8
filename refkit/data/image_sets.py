"""The pictures of a training or evaluation set, from a records file or from a list of image numbers."""

from __future__ import annotations

import gzip
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from refkit.data.files import is_gzip
from refkit.data.names import image_owner, recognise
from refkit.data.record_scan import RecordScan
from refkit.data.schema import Header, Record

Picture = tuple[str, int | str]
"""``(whose numbering, number)``, or ``(whose folder, file name)`` for pictures without a number."""


class AuditError(ValueError):
    """A side of an audit that cannot be read: no such file or list."""


@dataclass(slots=True)
class ImageSet:
    """The pictures of one side of an audit.

    Attributes:
        name: set and split, or the keys of an image list.
        pictures: every picture → number of its expressions (0 where only a list is known).
        files: picture → path below the image root, where the records name one.
        image_root: of the header.
        has_expressions: False for an image list.
    """

    name: str
    pictures: dict[Picture, int]
    files: dict[Picture, str] = field(default_factory=dict)
    image_root: str = ""
    has_expressions: bool = True

    @property
    def expressions(self) -> int:
        """Number of records."""
        return sum(self.pictures.values())


def load_side(text: str) -> list[ImageSet]:
    """One argument of the command.

    Args:
        text: a records file, or ``<image lists>.json[.gz]:<key>+<key>…`` where the file is a JSON object of
            lists of image numbers.

    Returns:
        One set per records file or key.

    Raises:
        AuditError: no such file or key.
        RecordError: a records file that is not valid.
    """
    path, keys = _split_argument(text)
    if not _is_image_list(path):
        if keys:
            raise AuditError(f"{path} is a records file and has no list {keys!r}; give its name alone")
        return [images_of_records(path)]
    return images_of_lists(path, keys)


def images_of_records(path: str | os.PathLike[str]) -> ImageSet:
    """The pictures of a records file with the number of expressions on each."""
    scan = RecordScan(path)
    side = ImageSet(scan.header.name, {}, image_root=scan.header.image_root)
    for _, _, record in scan:
        picture = _picture(scan.header, record)
        side.pictures[picture] = side.pictures.get(picture, 0) + 1
        side.files[picture] = record.image.file
    return side


def images_of_lists(path: Path, keys: str) -> list[ImageSet]:
    """Lists of image numbers by key (``refcoco.unc.train+refcocog.umd.train``).

    Raises:
        AuditError: no key was given, or one that the file does not have.
    """
    lists = _read_lists(path)
    # A plus before a dot or an underscore belongs to a name: "refcoco+.unc.train", "unc+_train".
    wanted = [key for key in re.split(r"\+(?![._])|,", keys) if key]
    if not wanted:
        raise AuditError(
            f"{path} holds several lists; choose with {path}:<key>+<key> among {', '.join(lists)}"
        )
    return [_image_list(path, lists, key) for key in wanted]


def _image_list(path: Path, lists: dict[str, list[int]], key: str) -> ImageSet:
    meant = recognise(key) or key
    found = next((name for name in lists if name == key or (recognise(name) or name) == meant), None)
    if found is None:
        raise AuditError(f"{path} has no list {key!r}; it has {', '.join(lists)}")
    owner = image_owner(meant.split(".")[0])
    return ImageSet(meant, {(owner, number): 0 for number in lists[found]}, has_expressions=False)


def _read_lists(path: Path) -> dict[str, list[int]]:
    data = path.read_bytes()
    try:
        value = json.loads(gzip.decompress(data) if is_gzip(path) else data)
    except (ValueError, EOFError, OSError) as error:
        raise AuditError(f"{path} is not readable as JSON: {error}") from None
    lists = (
        {key: item for key, item in value.items() if isinstance(item, list)}
        if isinstance(value, dict)
        else {}
    )
    for key, numbers in lists.items():
        if any(isinstance(number, bool) or not isinstance(number, int) for number in numbers):
            raise AuditError(f"{path}: {key}: expected a list of whole image numbers")
    if not lists:
        raise AuditError(f"{path}: expected an object with lists of image numbers")
    return lists


def _split_argument(text: str) -> tuple[Path, str]:
    whole = Path(text)
    if whole.exists():
        return whole, ""
    before, colon, keys = text.rpartition(":")
    if colon and Path(before).exists():
        return Path(before), keys
    raise AuditError(f"no such file: {before or text}")


def _is_image_list(path: Path) -> bool:
    name = path.name.removesuffix(".gz")
    return name.endswith(".json")


def _picture(header: Header, record: Record) -> Picture:
    image = record.image
    owner = image_owner(header.dataset)
    if "drawn" in header.extra:  # scenes are numbered from 0 for every seed
        owner = f"{owner}.{header.split_by}"
    return (owner, image.id) if image.id is not None else (owner, Path(image.file).name)
