"""A records file with its picture, in place of annotations that are not here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.rle import encode


def pretend_records(folder: Path) -> Path:
    """Two expressions about one picture, with masks, in place of annotations that are not here."""
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray(picture).save(folder / "a.png")
    image = ImageRef("a.png", 64, 48, 1)
    mask = np.zeros((48, 64), bool)
    mask[6:30, 5:40] = True
    records = [
        Record(
            f"mine.own.{number}",
            image,
            text,
            [Target((4.0 + number, 5.0, 40.0, 30.0), encode(mask))],
            references=[text],
        )
        for number, text in enumerate(("the left dog", "the red circle"))
    ]
    write_records(folder / "records.jsonl", Header("mine", "own", "train"), records)
    return folder / "records.jsonl"
