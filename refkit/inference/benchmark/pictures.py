"""Photograph-like pictures with expressions, for a config whose own data are not on this machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.rle import encode

#: As long as expressions of RefCOCO and RefCOCOg are: the mean is 3.6 words and 8.4 words.
EXPRESSIONS = (
    "left man",
    "the red bus",
    "woman in white shirt",
    "dog",
    "second plate from the right",
    "the tall giraffe standing behind the fence",
    "a man in a blue jacket holding an umbrella",
    "chair",
)
_WIDTH, _HEIGHT, _QUALITY = 640, 480, 92  # of most COCO pictures; the files get about 120 kB


def write_benchmark_records(folder: Path, count: int) -> Path:
    """Writes ``count`` records with one picture and one masked box each and returns the records file.

    The pictures are coloured clouds with fine grain, which take as long to decode as photographs.
    """
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    records = []
    for index in range(count):
        file = f"{index}.jpg"
        _draw(rng).save(folder / "pictures" / file, quality=_QUALITY)
        left, top = rng.uniform(0, _WIDTH / 2), rng.uniform(0, _HEIGHT / 2)
        box = (left, top, left + _WIDTH / 4, top + _HEIGHT / 3)
        records.append(
            Record(
                id=f"benchmark.{index}",
                image=ImageRef(file, _WIDTH, _HEIGHT, index),
                text=EXPRESSIONS[index % len(EXPRESSIONS)],
                targets=[Target(box=box, mask=encode(_ellipse(box)))],
            )
        )
    path = folder / "benchmark.records.jsonl"
    write_records(path, Header("benchmark", "synthetic", "val", image_root="pictures"), records)
    return path


def _ellipse(box: tuple[float, float, float, float]) -> np.ndarray:
    """The ellipse in a box, ``(height, width)`` bool of the picture."""
    left, top, right, bottom = box
    columns = (np.arange(_WIDTH) + 0.5 - (left + right) / 2) / (right - left) * 2
    rows = (np.arange(_HEIGHT) + 0.5 - (top + bottom) / 2) / (bottom - top) * 2
    return rows[:, None] ** 2 + columns[None] ** 2 <= 1


def _draw(rng: np.random.Generator) -> Image.Image:
    clouds = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(clouds.resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC), np.float32)
    grain = rng.normal(0, 6, smooth.shape)
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))
