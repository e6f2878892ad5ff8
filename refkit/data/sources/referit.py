"""ReferItGame (RefCLEF, berkeley split) as JSON: queries, boxes and image sizes by region.

``referit_query_<split>.json`` maps ``<image>_<region>`` to its expressions, ``referit_bbox.json`` to
``[xmin, ymin, xmax, ymax]`` in inclusive pixels, ``referit_imsize.json`` maps ``<image>.jpg`` to
``[width, height]``. The same content as one JSON object per region and line is read by the source ``jsonl``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from refkit.data.records import Header, ImageRef, Record, Target
from refkit.data.sources.geometry import GeometryError, check_box, four_numbers, from_inclusive
from refkit.data.sources.identity import IMAGE_ROOTS, LICENCES, IdAssigner, file_digest, image_number
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

_QUERY = re.compile(r"referit_query_(\w+)\.json$")
_PREFIX = "referit.berkeley"
# "all" and "trainval" are unions of the others.
_DEFAULT_SPLITS = ("train", "val", "test")


def _region_order(name: str) -> tuple[int, ...]:
    """Regions by image and region number: the files have them in a dictionary's order."""
    return tuple(int(number) for number in re.findall(r"\d+", name))


class _Regions:
    """Queries, boxes and sizes of one split to records."""

    def __init__(
        self, boxes: Mapping[str, Any], sizes: Mapping[str, Any], inclusive: bool, skips: Skips
    ) -> None:
        self._boxes, self._sizes = boxes, sizes
        self._inclusive, self._skips = inclusive, skips

    def records(self, path: Path, queries: Mapping[str, Any]) -> Iterator[Record]:
        """One record per expression."""
        ids = IdAssigner(_PREFIX)
        for region in sorted(queries, key=_region_order):
            try:
                image, box = self._look_up(region)
            except (GeometryError, KeyError, TypeError, ValueError) as error:
                reason = (
                    str(error) if isinstance(error, GeometryError) else "its box or image size is missing"
                )
                self._skips.reject(path, f"region {region}", reason, f"box {self._boxes.get(region)}")
                continue
            for text in queries[region]:
                if not isinstance(text, str) or not text.strip():
                    self._skips.reject(path, f"region {region}", "the text is empty")
                    continue
                yield Record(
                    id=ids.assign(image, [box], text),
                    image=image,
                    text=text,
                    targets=[Target(box=box, id=region)],
                    object=f"{_PREFIX}.{region}",
                )

    def _look_up(self, region: str) -> tuple[ImageRef, tuple[float, float, float, float]]:
        file = region.partition("_")[0] + ".jpg"
        width, height = self._sizes[file]
        box = (from_inclusive if self._inclusive else four_numbers)(self._boxes[region])
        check_box(box, width, height)
        return ImageRef(file, int(width), int(height), image_number(file)), box


def read(
    paths: Sequence[Path],
    skips: Skips,
    *,
    splits: Sequence[str] = (),
    inclusive: bool = True,
    image_root: str | None = None,
) -> list[Part]:
    """Parts of one ReferItGame folder, one per split; options as in `SPEC`.

    Raises:
        SourceError: a file is missing or of another layout.
    """
    folder = one_path(
        paths, "the folder with referit_query_*.json, referit_bbox.json and referit_imsize.json"
    )
    held = {
        found.group(1): path for path in sorted(folder.glob("*.json")) if (found := _QUERY.search(path.name))
    }
    if not held:
        raise SourceError(f"{folder} has no referit_query_<split>.json.")
    chosen = splits or [split for split in _DEFAULT_SPLITS if split in held]
    for split in chosen:
        if split not in held:
            raise SourceError(f"{folder} has no split {split!r}; it has {', '.join(held)}.")
    tables = [read_json(folder / name, dict) for name in ("referit_bbox.json", "referit_imsize.json")]
    common = {name: file_digest(folder / name) for name in ("referit_bbox.json", "referit_imsize.json")}
    parts = []
    for split in chosen:
        queries = read_json(held[split], dict)
        header = Header(
            "referit",
            "berkeley",
            split,
            image_root=image_root or IMAGE_ROOTS["referit"],
            licence=LICENCES["referit"],
            source={held[split].name: file_digest(held[split]), **common},
        )
        own = skips.fork()
        regions = _Regions(tables[0], tables[1], inclusive, own)
        parts.append(Part(header, regions.records(held[split], queries), own, len(queries)))
    return parts


SPEC = SourceSpec(
    name="referit",
    help="ReferItGame, berkeley split, from its query, box and image-size JSON files.",
    paths="the folder with referit_query_*.json, referit_bbox.json and referit_imsize.json",
    options=(
        SPLITS,
        Option("inclusive", bool, True, "The boxes are inclusive pixels (they are, in the published files)."),
        IMAGE_ROOT,
    ),
    read=read,
)
