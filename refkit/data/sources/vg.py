"""Visual Genome region descriptions, versions 1.0 and 1.2, in DenseCap's splits; and those also in COCO.

``region_descriptions.json`` (or ``region_graphs.json``, which holds the same regions) lists pictures with
``regions: [{region_id or id, phrase, x, y, width, height}]``; ``image_data.json`` their sizes and COCO
numbers; ``densecap_splits.json`` the numbers of the pictures of train, val and test. Phrases are cleaned and
boxes clipped as in the data of DynRefer and ControlCap; phrases of more than 15 words are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refkit.data.caption_text import clean_phrase
from refkit.data.records import Header, ImageRef, Target
from refkit.data.sources.geometry import Box, GeometryError, four_numbers
from refkit.data.sources.identity import IMAGE_ROOTS, LICENCES, file_digest, parse_set_name
from refkit.data.sources.readfile import read_json
from refkit.data.sources.region_records import (
    TAG_LIST,
    TAGGER,
    TASK,
    CaptionFacts,
    Region,
    caption_records,
)
from refkit.data.sources.sizes import ImageSizes
from refkit.data.sources.spec import (
    IMAGE_ROOT,
    NAME,
    SPLITS,
    Option,
    Part,
    Skips,
    SourceError,
    SourceSpec,
    one_path,
)

MAX_WORDS = 15
_DIVISIONS = {"1.0": "1_0", "1.2": "1_2", "coco": "coco"}
_REGIONS = ("region_descriptions.json", "region_graphs.json")
_IMAGES, _SPLITS = "image_data.json", "densecap_splits.json"


def clipped_box(x: float, y: float, width: float, height: float, size: tuple[int, int]) -> Box:
    """The published clipping of a region, xyxy: left and top from 1 on, right and bottom inside the picture.

    Raises:
        GeometryError: nothing of the box is left.
    """
    left, top = (min(max(low, 1), extent - 1) for low, extent in zip((x, y), size, strict=True))
    right, bottom = min(x + width, size[0]), min(y + height, size[1])
    if right <= left or bottom <= top:
        raise GeometryError("nothing is left of the box after clipping")
    return float(left), float(top), float(right), float(bottom)


class _Sizes:
    """Sizes and COCO numbers of the pictures, from ``image_data.json`` or a source of sizes."""

    def __init__(self, data: Path | None, sizes: Path | None) -> None:
        self._listed: dict[int, ImageRef] = {}
        self.in_coco: set[int] = set()
        self._others = None if sizes is None else ImageSizes(sizes)
        for entry in read_json(data, list) if data is not None else ():
            try:
                number = int(entry["image_id"] if "image_id" in entry else entry["id"])
                size = int(entry["width"]), int(entry["height"])
            except (KeyError, TypeError, ValueError) as error:
                raise SourceError(
                    f"{data}: this is not Visual Genome's list of pictures: {error!r}"
                ) from error
            self._listed[number] = ImageRef(f"{number}.jpg", *size, number)
            if entry.get("coco_id") is not None:
                self.in_coco.add(number)

    def image(self, number: int) -> ImageRef:
        """The picture.

        Raises:
            GeometryError: its size is not known.
        """
        if number in self._listed:
            return self._listed[number]
        try:
            if self._others is None:
                raise KeyError(number)
            return ImageRef(f"{number}.jpg", *self._others[f"{number}.jpg"], number)
        except KeyError as error:
            raise GeometryError(f"the picture's size is not known (from {_IMAGES} or --sizes)") from error


@dataclass(frozen=True)
class _Genome:
    """What all splits share."""

    path: Path
    pictures: Sequence[Mapping[str, Any]]
    sizes: _Sizes
    only_coco: bool

    def regions(self, wanted: set[int] | None, training: bool, skips: Skips) -> Iterator[Region]:
        """Regions of the wanted pictures (None: of all), in the order of the file."""
        for place, picture in enumerate(self.pictures):
            try:
                number = int(picture["image_id"] if "image_id" in picture else picture["id"])
                if (wanted is not None and number not in wanted) or (
                    self.only_coco and number not in self.sizes.in_coco
                ):
                    continue
                image, regions = self.sizes.image(number), picture["regions"]
            except (KeyError, TypeError, ValueError) as error:
                name = picture.get("image_id", picture.get("id")) if isinstance(picture, dict) else None
                self._reject(skips, f"picture {name} (entry {place})", error)
                continue
            for region in regions:
                yield from self._one(region, image, training, skips)

    def _one(self, region: Any, image: ImageRef, training: bool, skips: Skips) -> Iterator[Region]:
        try:
            number = region["region_id"] if "region_id" in region else region["id"]
            words = clean_phrase(region["phrase"])
            x, y, width, height = four_numbers(region[key] for key in ("x", "y", "width", "height"))
        except (KeyError, TypeError, AttributeError, GeometryError) as error:
            self._reject(skips, f"a region of picture {image.id}", error)
            return
        if len(words) > MAX_WORDS:
            skips.left_out[f"phrase of more than {MAX_WORDS} words"] += 1
            return
        if training and not words:
            skips.left_out["phrase without words"] += 1
            return
        try:
            box = clipped_box(x, y, width, height, (image.width, image.height))
        except GeometryError as error:
            skips.left_out[str(error)] += 1
            return
        yield Region(number, image, Target(box=box, id=number), " ".join(words))

    def _reject(self, skips: Skips, entry: str, error: Exception) -> None:
        known = isinstance(error, GeometryError)
        reason = str(error) if known else "a field is missing or of another type"
        skips.reject(self.path, entry, reason, "" if known else repr(error))


def _region_file(path: Path) -> Path:
    if path.is_file():
        return path
    for name in _REGIONS:
        for ending in ("", ".gz"):
            if (found := path / f"{name}{ending}").is_file():
                return found
    raise SourceError(f"{path} holds neither {' nor '.join(_REGIONS)}.")


def _beside(path: Path, name: str) -> Path | None:
    found = path.parent / name
    return found if found.is_file() else None


def _split_numbers(path: Path, wanted: Sequence[str]) -> dict[str, set[int]]:
    """Numbers of pictures by split.

    Raises:
        SourceError: the file is of another layout, or lacks a split that is asked for.
    """
    listed = read_json(path, dict)
    for split in wanted:
        if split not in listed:
            raise SourceError(f"{path} has no split {split!r}; it has {', '.join(listed)}.")
    try:
        return {
            split: {int(number) for number in numbers}
            for split, numbers in listed.items()
            if split in wanted or not wanted
        }
    except (TypeError, ValueError) as error:
        raise SourceError(f"{path}: expected lists of picture numbers by split: {error}") from error


def _parts(
    regions_file: Path, name: str | None, version: str, splits: Sequence[str]
) -> dict[str, set[int] | None]:
    """Numbers of pictures by the name of the set to be written; None stands for all."""
    if name is not None:
        return {".".join(parse_set_name(name)): None}
    listed = _beside(regions_file, _SPLITS)
    if listed is None:
        raise SourceError(
            f"{_SPLITS} is not beside {regions_file}; put DenseCap's file there, or write all pictures into "
            "one set with --name."
        )
    return {
        f"vg.{_DIVISIONS[version]}.{split}": numbers
        for split, numbers in _split_numbers(listed, splits).items()
    }


def read(
    paths: Sequence[Path],
    skips: Skips,
    *,
    version: str = "1.2",
    task: str = "caption",
    splits: Sequence[str] = (),
    name: str | None = None,
    sizes: Path | None = None,
    tagger: str = "none",
    tag_list: Path | None = None,
    image_root: str | None = None,
) -> list[Part]:
    """One part per split; options as in `SPEC`.

    Raises:
        SourceError: a file is missing or of another layout.
    """
    path = _region_file(one_path(paths, "Visual Genome's folder, or its file of regions"))
    wanted = _parts(path, name, version, splits)
    data = _beside(path, _IMAGES)
    if version == "coco" and data is None:
        raise SourceError(f"version coco needs {_IMAGES} beside {path}: it says which pictures COCO has.")
    genome = _Genome(path, read_json(path, list), _Sizes(data, sizes), version == "coco")
    facts = CaptionFacts(tagger, tag_list)
    parts = []
    for full, numbers in wanted.items():
        dataset, split_by, split = full.split(".")
        own = skips.fork()
        header = Header(
            dataset,
            split_by,
            split,
            task=[task],
            image_root=IMAGE_ROOTS["vg"] if image_root is None else image_root,
            licence=LICENCES["vg"],
            source={path.name: file_digest(path)},
            extra=dict(facts.summary),
        )
        regions = genome.regions(numbers, split == "train", own)
        parts.append(Part(header, caption_records(regions, f"{dataset}.{split_by}", task, facts), own))
    return parts


SPEC = SourceSpec(
    name="vg",
    help="Visual Genome region descriptions (1.0, 1.2, or the pictures that COCO has too).",
    paths="the folder with region_descriptions.json, image_data.json and densecap_splits.json, or the "
    "file of regions",
    options=(
        Option("version", str, "1.2", "Version of the regions, or coco for VG-COCO.", tuple(_DIVISIONS)),
        TASK,
        SPLITS,
        NAME,
        Option(
            "sizes",
            Path,
            None,
            "Image sizes where image_data.json is missing: a folder of pictures or a file.",
        ),
        TAGGER,
        TAG_LIST,
        IMAGE_ROOT,
    ),
    read=read,
)
