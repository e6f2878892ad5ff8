"""Small real samples and records folders for the tests of refkit.data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from refkit import rle
from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.structures import Frame, ReferringSample


def make_sample(
    width: int = 80,
    height: int = 60,
    boxes=((10.0, 20.0, 40.0, 50.0),),
    text: str = "the left dog",
    with_masks: bool = True,
    seed: int = 0,
) -> ReferringSample:
    """Noise pixels; the mask of a target is its box rasterised at whole pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    masks = np.zeros((len(boxes), height, width), bool)
    for mask, (left, top, right, bottom) in zip(masks, np.round(boxes).astype(int), strict=True):
        mask[top:bottom, left:right] = True
    return ReferringSample(
        id="toy.1",
        text=text,
        frame=Frame.identity(width, height),
        image=pixels,
        boxes=boxes,
        masks=masks if with_masks else None,
        categories=["dog"] * len(boxes),
    )


def make_record(number: int, image: int | None = None, *, dataset: str = "toy", **changes) -> Record:
    """Record ``number`` on picture ``image`` (its own by default), 64 x 48 pixels, one target with a mask."""
    image = number if image is None else image
    mask = np.zeros((48, 64), bool)
    mask[10:30, 5 + number % 20 : 40] = True
    target = Target((5.0 + number % 20, 10.0, 40.0, 30.0), rle.encode(mask), number, "dog")
    record = Record(
        id=f"{dataset}.{number}",
        image=ImageRef(f"COCO_train2014_{image:012d}.jpg", 64, 48, image),
        text=f"the left dog {number}",
        targets=[target],
        object=f"{dataset}.o{number}",
        facts={"kind": "position"},
    )
    for name, value in changes.items():
        setattr(record, name, value)
    return record


def write_folder(folder: Path, records: list[Record], name: str = "toy", split: str = "train") -> Path:
    """``<name>.<split>.jsonl`` and the pictures of its records below ``folder/pictures``."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for record in records:
        path = folder / "pictures" / record.image.file
        if not path.exists():
            rng = np.random.default_rng(int(record.image.id or 0))
            pixels = rng.integers(0, 256, (record.image.height, record.image.width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path, quality=95)
    header = Header(name, "unc", split, ["rec", "res"], image_root="pictures")
    path = folder / f"{name}.{split}.jsonl"
    write_records(path, header, records)
    return path
