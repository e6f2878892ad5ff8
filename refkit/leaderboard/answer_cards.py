"""Pictures of single records with what was annotated and what was answered, for pages made of one file."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from refkit import rle
from refkit.data import draw
from refkit.data.files import atomic_write, image_folder
from refkit.data.images import ImageError, find_image, load_image
from refkit.data.record_file import RecordFile
from refkit.data.schema import Record
from refkit.leaderboard.predictions import load_predictions
from refkit.metrics.boxes import as_boxes, valid_boxes
from refkit.structures import Prediction

TEMPLATE = "comparison_page.html.j2"
TRUTH, INKS = draw.COLOURS[1], (draw.COLOURS[0], draw.COLOURS[2])
WIDTH = 480
EMPTY: draw.Colour = (225, 225, 220)
BAR: dict[str, Any] = {"unit": " pictures", "delay": 2.0, "disable": None, "leave": False}


@dataclass(frozen=True, slots=True)
class PageOptions:
    """How the page is drawn.

    Attributes:
        pictures: at most so many per section.
        worst: take the samples with the lowest IoU, or the largest difference of IoU, not a random choice.
        seed: of the random choice.
        image_root: folder of the pictures; by default the one that the records name, below ``data_root``.
        data_root: by default ``REFKIT_DATA``, else ``data``.
    """

    pictures: int = 40
    worst: bool = False
    seed: int = 0
    image_root: Path | None = None
    data_root: Path | None = None


class AnswerCards:
    """Draws records of one file with one or two answers.

    Attributes:
        missing: pictures that were not at hand.
    """

    def __init__(self, records: str, answers: Mapping[str, str], options: PageOptions) -> None:
        """Open the files.

        Args:
            records: the records file.
            answers: prediction files by the label that their boxes get.
            options: where pictures are.
        """
        self._records = RecordFile(records)
        self._answers = {label: load_predictions(path) for label, path in answers.items()}
        root = self._records.header.image_root
        self._folder = image_folder(root, options.image_root, options.data_root)
        self.missing = 0

    def find(self, ids: Iterable[str]) -> dict[str, Record]:
        """The records of these ids."""
        wanted = set(ids)
        return {record.id: record for record in self._records if record.id in wanted}

    def card(self, record: Record, note: str) -> dict[str, Any]:
        """What the template needs about one record."""
        image, lacking = self._picture(record)
        scale = image.width / record.image.width
        _outline(image, [target.box for target in record.targets if target.box], scale, TRUTH, "")
        for ink, (label, file) in zip(INKS, self._answers.items(), strict=False):
            prediction = file.predictions.get(record.id)
            if prediction is not None:
                pixels = file.in_pixels(prediction, record.image.width, record.image.height)
                _draw_answer(image, pixels, scale, ink, label)
        text = record.text if record.text is not None else " / ".join(record.references or [])
        return {
            "picture": _jpeg(image),
            "width": image.width,
            "height": image.height,
            "text": text,
            "alt": f"Annotated box and answers for: {text}",
            "note": " · ".join(filter(None, (record.id, note, lacking))),
        }

    def _picture(self, record: Record) -> tuple[Image.Image, str]:
        width, height = record.image.width, record.image.height
        size = (WIDTH, max(1, round(WIDTH * height / width)))
        try:
            path = find_image(self._folder, record.image.file, record.id)
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


def write_sections(
    folder: str | os.PathLike[str], title: str, names: Sequence[str], sets: Sequence[Any], protocol: str
) -> Path:
    """Write ``index.html``: self-contained, every text escaped.

    Args:
        folder: is made where it does not exist.
        title: of the page.
        names: what each colour of an answer stands for.
        sets: what the template needs about each set of records.
        protocol: its text.
    """
    from jinja2 import Environment

    legend = [("annotated", TRUTH), *zip(names, INKS, strict=False)]
    template = files(__package__).joinpath(TEMPLATE).read_text("utf-8")
    text = (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(template)
        .render(
            title=title,
            legend=[(name, "#{:02x}{:02x}{:02x}".format(*ink)) for name, ink in legend],
            sets=sets,
            protocol=protocol,
        )
    )
    return atomic_write(Path(folder) / "index.html", text)
