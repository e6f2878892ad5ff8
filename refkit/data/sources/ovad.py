"""OVAD: boxes of COCO val2017 with 117 attributes, each present (1), absent (0) or unknown (-1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from refkit.data.records import Header, Record, Target
from refkit.data.sources.geometry import GeometryError, check_box, from_xywh
from refkit.data.sources.identity import LICENCES, file_digest
from refkit.data.sources.readfile import read_json
from refkit.data.sources.refer import Instances, instances_of
from refkit.data.sources.spec import IMAGE_ROOT, Part, Skips, SourceError, SourceSpec, one_path

_PREFIX = "ovad.box"


class Attributes:
    """The attributes of a file, in the order of their numbers.

    Args:
        entries: ``id``, ``name`` and ``freq_set`` of each.

    Raises:
        SourceError: the list is of another layout.
    """

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        try:
            ranked = sorted(entries, key=lambda entry: int(entry["id"]))
            self.names = [str(entry["name"]) for entry in ranked]
            self._groups = {str(entry["name"]): str(entry["freq_set"]) for entry in ranked}
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"this is not OVAD's list of attributes: {error!r}") from error
        if len(set(self.names)) != len(ranked) or not ranked:
            raise SourceError("OVAD's list of attributes is empty or names one twice")

    def labels(self, vector: Any) -> dict[str, int]:
        """What is known of a box; unknown attributes are left out.

        Raises:
            GeometryError: the vector has another length or other values.
        """
        if not isinstance(vector, list) or len(vector) != len(self.names):
            raise GeometryError(f"att_vec does not hold {len(self.names)} values")
        if any(value not in (-1, 0, 1) or isinstance(value, bool) for value in vector):
            raise GeometryError("att_vec holds values other than -1, 0 and 1")
        return {name: int(value) for name, value in zip(self.names, vector, strict=True) if value != -1}

    def groups(self, labels: Mapping[str, int]) -> dict[str, str]:
        """Frequency group of every attribute that a box has: all that a score by group needs."""
        return {name: self._groups[name] for name, label in labels.items() if label}


def _records(path: Path, instances: Instances, attributes: Attributes, skips: Skips) -> Iterator[Record]:
    for number, entry in instances.annotations.items():
        try:
            image = instances.images.get(entry["image_id"])
            if image is None:
                raise GeometryError("its image is not in the file's list")
            box = from_xywh(entry["bbox"])
            check_box(box, image.width, image.height)
            labels = attributes.labels(entry["att_vec"])
        except GeometryError as error:
            skips.reject(path, f"annotation {number}", str(error))
            continue
        except (KeyError, TypeError) as error:
            skips.reject(path, f"annotation {number}", "a field is missing or of another type", repr(error))
            continue
        category = instances.categories.get(entry.get("category_id", -1))
        name = f"{_PREFIX}.{number}"
        yield Record(
            id=name,
            image=image,
            targets=[Target(box=box, id=number, category=category)],
            object=name,
            labels=labels,
            facts={"attribute_groups": attributes.groups(labels)},
        )


def read(paths: Sequence[Path], skips: Skips, *, image_root: str | None = None) -> list[Part]:
    """The one part of OVAD.

    Raises:
        SourceError: the file is missing or of another layout.
    """
    path = one_path(paths, "ovad2000.json")
    data = read_json(path, dict)
    listed = data.get("attributes")
    if not isinstance(listed, list):
        raise SourceError(f"{path}: there is no list of attributes; give ovad2000.json.")
    header = Header(
        "ovad",
        "box",
        "test",
        task=["attributes"],
        image_root="coco/val2017" if image_root is None else image_root,
        licence=f"CC BY-NC-SA 4.0 (attributes); {LICENCES['coco']}",
        source={path.name: file_digest(path)},
    )
    records = _records(path, instances_of(path, data), Attributes(listed), skips)
    return [Part(header, records, skips)]


SPEC = SourceSpec(
    name="ovad",
    help="OVAD: attributes of given boxes.",
    paths="ovad2000.json",
    options=(IMAGE_ROOT,),
    read=read,
)
