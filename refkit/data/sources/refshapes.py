"""RefShapes, the embedded data set, as records: its scenes are drawn from a seed, nothing is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from refkit.data.records import Header
from refkit.data.sources.spec import Option, Part, Skips, SourceError, SourceSpec


def read(
    paths: Sequence[Path],
    skips: Skips,
    *,
    split: str = "val",
    about: str = "expressions",
    seed: int = 0,
    start: int = 0,
    scenes: int = 1000,
    size: int = 96,
    images: Path | None = None,
) -> list[Part]:
    """The one part of a drawn set; options as in `SPEC`.

    Raises:
        SourceError: a path was given, or a number is out of range.
    """
    if paths:
        raise SourceError("refshapes is drawn, not read: give no path, but seed, start and scenes.")
    if scenes < 1 or start < 0 or seed < 0 or size < 16:
        raise SourceError("refshapes: expected scenes > 0, start >= 0, seed >= 0 and size >= 16.")
    from refkit.data.refshapes import iter_records
    from refkit.data.refshapes.region_captions import iter_object_records

    objects = about == "objects"
    drawn = {"seed": seed, "start": start, "scenes": scenes, "size": size}
    header = Header(
        "refshapes",
        f"seed{seed}-objects" if objects else f"seed{seed}",
        split,
        task=["caption", "attributes", "recognition"] if objects else ["rec", "res"],
        image_root="" if images is None else images.name,
        licence="Apache-2.0 (drawn by refkit)",
        extra={"drawn": drawn | {"about": about} if objects else drawn},
    )
    draw = iter_object_records if objects else iter_records
    return [Part(header, draw(seed, start, scenes, size, images), skips)]


SPEC = SourceSpec(
    name="refshapes",
    help="The embedded data set, drawn from a seed.",
    paths="no path",
    options=(
        Option("split", str, "val", "Name of the split to write."),
        Option(
            "about",
            str,
            "expressions",
            "Five expressions per scene, or three single objects with captions, attributes and categories.",
            ("expressions", "objects"),
        ),
        Option("seed", int, 0, "Seed of the drawing."),
        Option("start", int, 0, "Number of the first scene."),
        Option("scenes", int, 1000, "Number of scenes."),
        Option("size", int, 96, "Width and height of a picture in pixels."),
        Option(
            "images", Path, None, "Write the pictures here too; its parent is the data root (default: none)."
        ),
    ),
    read=read,
)
