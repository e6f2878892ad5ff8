"""What a method got right and wrong, as pictures with the annotated and the predicted box, or the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refkit import rle
from refkit.data.draw import COLOURS, draw_mask
from refkit.data.files import atomic_write
from refkit.data.images import ImageError, find_image, load_image
from refkit.data.schema import Header, Record
from refkit.leaderboard.predictions import PredictionFile
from refkit.leaderboard.result import PerSample
from refkit.metrics.boxes import as_boxes, valid_boxes
from refkit.metrics.recognition import best_category
from refkit.structures import Prediction

EACH = 6
HIT = 0.5
LONGEST_SIDE = 360
LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of the gallery.

    Attributes:
        file: of the thumbnail, below the site.
        size: width and height of the original picture in pixels.
        text: the expression, or what was said about the region; shortened.
        note: the record, how good the answer is, and what would have been right.
        truth: annotated boxes as (x, y, width, height) in pixels.
        predicted: predicted boxes in the same way; None where words were predicted.
    """

    file: str
    size: tuple[int, int]
    text: str
    note: str
    truth: list[tuple[float, ...]]
    predicted: list[tuple[float, ...]] | None


def choose(per_sample: PerSample, seed: int = 0) -> dict[str, list[int]]:
    """Positions of some hits and some misses by heading, drawn at random but always the same.

    Captions are no hits and misses: those with the highest and the lowest CIDEr are shown. Scores without any
    of these per sample have no gallery.
    """
    values = per_sample.values
    iou, right, cider = (values.get(name) for name in ("iou", "top1", "cider"))
    if iou is not None and iou.dtype.kind == "f" and iou.ndim == 1:
        right = iou >= HIT
    if right is not None:
        rng = np.random.default_rng(seed)
        sides = {"Right": np.flatnonzero(right), "Wrong": np.flatnonzero(~right)}
        return {
            heading: sorted(rng.choice(side, min(EACH, len(side)), replace=False).tolist())
            for heading, side in sides.items()
        }
    if cider is None:
        return {}
    order = np.argsort(-cider, kind="stable").tolist()
    lowest = order[EACH:][-EACH:]
    return {"Highest CIDEr": order[:EACH], "Lowest CIDEr": lowest[::-1]}


def take(
    chosen: Mapping[str, Sequence[int]],
    records: Sequence[Record],
    answers: PredictionFile,
    per_sample: PerSample,
    header: Header,
    folder: Path,
    site: Path,
    inner: str,
) -> dict[str, list[Shot]]:
    """Draw and write the chosen pictures; those that are not at hand are left out.

    Args:
        chosen: positions in ``per_sample`` by heading.
        records: in the order of ``per_sample``.
        answers: of the method.
        per_sample: the score of every record.
        header: of the records.
        folder: where their pictures are.
        site: folder of the site.
        inner: folder of the thumbnails below it.
    """
    shots: dict[str, list[Shot]] = {}
    for heading, places in chosen.items():
        for place in places:
            record = records[place]
            pixels = _pixels(record, header, folder)
            if pixels is None:
                continue
            prediction = _in_pixels(answers, record)
            file = f"{inner}/{sum(map(len, shots.values())):02d}.jpg"
            atomic_write(site / file, _thumbnail(pixels, prediction.mask if prediction else None))
            values = {name: column[place] for name, column in per_sample.values.items()}
            shots.setdefault(heading, []).append(_shot(file, record, prediction, values))
    return shots


def _shot(file: str, record: Record, prediction: Prediction | None, values: Mapping[str, Any]) -> Shot:
    size = record.image.width, record.image.height
    truth = _corners_and_sides(as_boxes([target.box for target in record.targets if target.box is not None]))
    name = shortened(record.id)
    if "iou" in values:
        boxes = as_boxes(prediction.boxes if prediction and prediction.boxes is not None else ())
        predicted = _corners_and_sides(boxes[valid_boxes(boxes)][:1])
        note = f"{name}, IoU {values['iou']:.2f}{'' if predicted else ', no usable box'}"
        return Shot(file, size, shortened(record.text or ""), note, truth, predicted)
    if "top1" in values:
        said = best_category((prediction and prediction.categories) or {}) or ""
        note = f"{name}, annotated as {shortened(record.targets[0].category or '')}"
    else:
        said = (prediction and prediction.caption) or ""
        note = f"{name}, CIDEr {100 * values['cider']:.0f}, annotated as "
        note += shortened("; ".join(record.references or [record.text or ""]))
    return Shot(file, size, shortened(said), note, truth, None)


def shortened(text: str) -> str:
    """At most `LONGEST_TEXT` characters of it."""
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _in_pixels(answers: PredictionFile, record: Record) -> Prediction | None:
    prediction = answers.predictions.get(record.id)
    return prediction and answers.in_pixels(prediction, record.image.width, record.image.height)


def _pixels(record: Record, header: Header, folder: Path) -> NDArray[np.uint8] | None:
    """The picture of a record: drawn again, or found below the folder; None where it is not at hand."""
    drawn = header.extra.get("drawn")
    if header.dataset == "refshapes" and isinstance(drawn, dict) and isinstance(record.image.id, int):
        return _drawn_again(drawn, record.image.id)
    try:
        path = find_image(folder, record.image.file, record.id)
        return load_image(path, record.id, (record.image.width, record.image.height))
    except (ImageError, OSError):
        return None


def _drawn_again(drawn: Mapping[str, Any], index: int) -> NDArray[np.uint8]:
    from refkit.data.refshapes import imagine

    return imagine(drawn["seed"], index, drawn["size"]).drawing.image


def _thumbnail(pixels: NDArray[np.uint8], mask: dict[str, Any] | None) -> bytes:
    """A small JPEG made anew: nothing of the original file but its pixels reaches the site."""
    picture = Image.fromarray(pixels).convert("RGB")
    if mask is not None and mask["size"] == [picture.height, picture.width]:
        draw_mask(picture, rle.decode(mask), COLOURS[0])
    scale = LONGEST_SIDE / max(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    out = BytesIO()
    picture.save(out, "JPEG", quality=85)
    return out.getvalue()


def _corners_and_sides(boxes: NDArray[np.float64]) -> list[tuple[float, ...]]:
    sides = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)
    return [tuple(round(float(number), 1) for number in box) for box in sides]
