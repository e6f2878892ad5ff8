"""A web page of the samples that changed sides between two methods: self-contained, every text escaped."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from refkit import rle
from refkit.data import draw
from refkit.data.files import atomic_write, image_folder
from refkit.data.images import ImageError, find_image, load_image
from refkit.data.record_file import RecordFile
from refkit.data.schema import Record
from refkit.leaderboard.comparison import Changed, Comparison, ComparisonError, Pair
from refkit.leaderboard.comparison_table import about, table_rows
from refkit.leaderboard.predictions import PredictionFile, load_predictions
from refkit.metrics.boxes import as_boxes, valid_boxes
from refkit.structures import Prediction

TEMPLATE = "comparison_page.html.j2"
TRUTH, A, B = draw.COLOURS[1], draw.COLOURS[0], draw.COLOURS[2]
WIDTH = 480
EMPTY: draw.Colour = (225, 225, 220)
BAR: dict[str, Any] = {"unit": " pictures", "delay": 2.0, "disable": None, "leave": False}


@dataclass(frozen=True, slots=True)
class PageOptions:
    """How the page is drawn.

    Attributes:
        pictures: at most so many per direction and set of records, drawn at random.
        seed: of that draw.
        image_root: folder of the pictures; by default the one that the records name, below ``data_root``.
        data_root: by default ``REFKIT_DATA``, else ``data``.
    """

    pictures: int = 40
    seed: int = 0
    image_root: Path | None = None
    data_root: Path | None = None


def write_page(
    folder: str | os.PathLike[str],
    pairs: Sequence[Pair],
    comparisons: Sequence[Comparison],
    options: PageOptions,
) -> tuple[Path, int]:
    """Write ``index.html`` with tables and pictures.

    A picture that is not at hand is replaced by an empty one of its size, so that the boxes can still be
    compared.

    Args:
        folder: is made where it does not exist.
        pairs: files that were compared: records and both predictions as paths.
        comparisons: what `compare` says about them, in the same order.
        options: how many pictures, and where they are.

    Returns:
        The page, and how many pictures were not at hand.

    Raises:
        ComparisonError: records or predictions are not given as files.
        ImageError: a picture is broken or not the one described.
    """
    from jinja2 import Environment

    drawer = _Drawer(options)
    sets = [drawer.section(pair, one) for pair, one in zip(pairs, comparisons, strict=True)]
    names = dict(zip("AB", comparisons[0].models, strict=True))
    legend = [("annotated", TRUTH), (f"A: {names['A']}", A), (f"B: {names['B']}", B)]
    template = files(__package__).joinpath(TEMPLATE).read_text("utf-8")
    page = Environment(autoescape=True, trim_blocks=True).from_string(template)
    text = page.render(
        a=names["A"],
        b=names["B"],
        legend=[(name, "#{:02x}{:02x}{:02x}".format(*ink)) for name, ink in legend],
        sets=sets,
        protocol=comparisons[0].protocol.text,
    )
    return atomic_write(Path(folder) / "index.html", text), drawer.missing


class _Drawer:
    """Draws the changed samples of one set of records after the other."""

    def __init__(self, options: PageOptions) -> None:
        self._options = options
        self.missing = 0

    def section(self, pair: Pair, comparison: Comparison) -> dict[str, Any]:
        """What the template needs about one set of records."""
        records = RecordFile(_path(pair.records))
        answers = [load_predictions(_path(source)) for source in (pair.a, pair.b)]
        folder = image_folder(records.header.image_root, self._options.image_root, self._options.data_root)
        sides = [("Only A is right", comparison.only_a), ("Only B is right", comparison.only_b)]
        chosen = [self._choose(changed) for _, changed in sides]
        wanted = {one.id for part in chosen for one in part}
        found = {record.id: record for record in records if record.id in wanted}
        return {
            "records": comparison.records,
            "about": about(comparison),
            "rows": table_rows(comparison),
            "sides": [
                {
                    "title": f"{title}: {len(changed):,}",
                    "note": f"{len(part):,} shown"
                    + (", drawn at random" if len(part) < len(changed) else ""),
                    "cards": [self._card(one, found[one.id], answers, folder) for one in _track(part, title)],
                }
                for (title, changed), part in zip(sides, chosen, strict=True)
            ],
        }

    def _choose(self, changed: Sequence[Changed]) -> list[Changed]:
        count = min(self._options.pictures, len(changed))
        picked = np.random.default_rng(self._options.seed).choice(len(changed), count, replace=False)
        return [changed[place] for place in sorted(picked.tolist())]

    def _card(
        self, changed: Changed, record: Record, answers: Sequence[PredictionFile], folder: Path
    ) -> dict[str, Any]:
        image, note = self._picture(record, folder)
        scale = image.width / record.image.width
        _outline(image, [target.box for target in record.targets if target.box], scale, TRUTH, "")
        for label, ink, file in zip("AB", (A, B), answers, strict=True):
            prediction = file.predictions.get(record.id)
            if prediction is not None:
                pixels = file.in_pixels(prediction, record.image.width, record.image.height)
                _draw_answer(image, pixels, scale, ink, label)
        iou = f"IoU A {changed.iou[0]:.2f}, B {changed.iou[1]:.2f}" if changed.iou else ""
        text = record.text if record.text is not None else " / ".join(record.references or [])
        return {
            "picture": _jpeg(image),
            "width": image.width,
            "height": image.height,
            "text": text,
            "alt": f"Annotated box and both answers for: {text}",
            "note": " · ".join(filter(None, (record.id, iou, note))),
        }

    def _picture(self, record: Record, folder: Path) -> tuple[Image.Image, str]:
        width, height = record.image.width, record.image.height
        size = (WIDTH, max(1, round(WIDTH * height / width)))
        try:
            path = find_image(folder, record.image.file, record.id)
        except ImageError:
            self.missing += 1
            return Image.new("RGB", size, EMPTY), f"picture {record.image.file} is not at hand"
        pixels = load_image(path, record.id, (width, height))
        return Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS), ""


def _draw_answer(
    image: Image.Image, prediction: Prediction, scale: float, ink: draw.Colour, label: str
) -> None:
    """Mask and boxes of an answer; the box that counts carries the label."""
    if prediction.mask is not None:
        mask = Image.fromarray(rle.decode(prediction.mask))
        draw.draw_mask(image, np.asarray(mask.resize(image.size, Image.Resampling.NEAREST)), ink)
    boxes = as_boxes(prediction.boxes if prediction.boxes is not None else ())
    _outline(image, boxes[valid_boxes(boxes)].tolist(), scale, ink, label)


def _outline(
    image: Image.Image, boxes: Iterable[Sequence[float]], scale: float, ink: draw.Colour, label: str
) -> None:
    for box in boxes:
        left, top, right, bottom = (scale * value for value in box)
        draw.draw_box(image, (left, top, right, bottom), ink)
        draw.draw_label(image, label, (left, top), ink)


def _jpeg(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _track(changed: Sequence[Changed], title: str) -> Iterable[Changed]:
    return tqdm(changed, title.lower(), **BAR)


def _path(source: Any) -> str:
    """A page is made from files; what was compared in memory has none."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    raise ComparisonError("a page of pictures needs records and predictions as files")
