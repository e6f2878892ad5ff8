"""Draws predictions: on one picture, and as a page of many beside the truth."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from refkit import rle
from refkit.data import draw
from refkit.data.draw import Colour
from refkit.data.files import atomic_open
from refkit.metrics.boxes import as_boxes, valid_boxes
from refkit.metrics.masks import overlap, unite
from refkit.metrics.rec import score_rec, top_box
from refkit.structures import Prediction

#: Vermilion and blue of Okabe and Ito's palette: told apart by people with any kind of colour vision.
PREDICTED, TRUE = draw.COLOURS[0], draw.COLOURS[1]
HIT_THRESHOLD = 0.5

HIT: Colour = (0, 120, 90)
MISS: Colour = (185, 40, 20)

_STATUS_SIZE = 13


class DrawingError(ValueError):
    """A picture cannot be drawn as asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered question, ready to be drawn.

    Attributes:
        image: RGB, the original picture.
        text: the expression.
        prediction: in pixels of ``image``.
        truth: ``(K, 4)`` annotated xyxy boxes in pixels of ``image``; None where nobody annotated it.
        truth_masks: annotated COCO compressed RLEs of the size of ``image``.
    """

    image: Image.Image
    text: str
    prediction: Prediction
    truth: np.ndarray | None = None
    truth_masks: Sequence[Mapping[str, Any]] = ()

    @property
    def iou(self) -> float | None:
        """Overlap under ``rec/1``; None unless there is exactly one annotated box."""
        if self.truth is None or len(self.truth) != 1:
            return None
        return float(score_rec([top_box(self.prediction)], self.truth, [self.image.size]).per_sample_iou[0])

    @property
    def mask_iou(self) -> float | None:
        """Overlap of the masks under ``res/1``; None where nobody annotated one or none was predicted."""
        if not self.truth_masks or self.prediction.mask is None:
            return None
        common, united = overlap(self.prediction.mask, unite(self.truth_masks))
        return common / united if united else 0.0


def draw_answer(answer: Answer, width: int | None = None) -> Image.Image:
    """The picture with truth and prediction on it: boxes, and masks where there are some.

    A predicted mask is tinted and outlined, an annotated one outlined only, so that both can be told apart
    where they overlap.

    Args:
        answer: what to draw.
        width: of the result in pixels; the picture is scaled before anything is drawn, so lines stay sharp.

    Raises:
        DrawingError: a mask of another size than the picture.
    """
    scale = (width or answer.image.width) / answer.image.width
    size = (round(answer.image.width * scale), max(1, round(answer.image.height * scale)))
    picture = answer.image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    if answer.prediction.mask is not None:
        area = _scaled_mask(answer.prediction.mask, size, answer.image)
        draw.draw_mask(picture, area, PREDICTED)
        draw.draw_outline(picture, area, PREDICTED)
    for mask in answer.truth_masks:
        draw.draw_outline(picture, _scaled_mask(mask, size, answer.image), TRUE)
    for box in answer.truth if answer.truth is not None else ():
        draw.draw_box(picture, (np.asarray(box) * scale).tolist(), TRUE)
    boxes = as_boxes(answer.prediction.boxes if answer.prediction.boxes is not None else ())
    for index in np.flatnonzero(valid_boxes(boxes)):
        box = boxes[index]
        draw.draw_box(picture, (box * scale).tolist(), PREDICTED)
        if answer.prediction.scores is not None:
            label = f"{answer.prediction.scores[index]:.2f}"
            draw.draw_label(picture, label, (box[0] * scale, box[1] * scale), PREDICTED)
    return picture


def _scaled_mask(mask: Mapping[str, Any], size: tuple[int, int], image: Image.Image) -> np.ndarray:
    """``(H, W)`` bool of the drawn picture, whose size is ``(width, height)``."""
    decoded = rle.decode(mask)
    if decoded.shape != (image.height, image.width):
        raise DrawingError(
            f"a mask of {decoded.shape[1]} x {decoded.shape[0]} pixels does not belong to a picture of "
            f"{image.width} x {image.height}."
        )
    return np.asarray(Image.fromarray(decoded).resize(size, Image.Resampling.NEAREST))


def captioned_answer(answer: Answer, least_width: int = 360) -> Image.Image:
    """The picture with its boxes and the expression below; small pictures are enlarged to ``least_width``."""
    width = max(least_width, answer.image.width)
    size = max(14, width // 40)
    return draw.captioned(draw_answer(answer, width), _quoted(answer.text), width, lines=2, size=size)


def answer_page(answers: Sequence[Answer], title: str, columns: int = 4, width: int = 280) -> Image.Image:
    """Many answers on one page: picture, expression, truth and prediction, overlap, hit or miss.

    Args:
        answers: at least one.
        title: stands at the top, beside the legend.
        columns: tiles per row.
        width: of a tile in pixels.

    Raises:
        DrawingError: there is no answer.
    """
    if not answers:
        raise DrawingError("a page needs at least one answer.")
    sheet = draw.contact_sheet([_tile(answer, width) for answer in answers], columns)
    return titled_page(sheet, title, _summary(answers), ((TRUE, "annotated"), (PREDICTED, "predicted")))


def titled_page(
    sheet: Image.Image, title: str, summary: str, legend: Sequence[tuple[Colour, str]]
) -> Image.Image:
    """A sheet of tiles below a title, one line that sums it up, and what its colours mean."""
    head = _head(sheet.width, title, summary, legend)
    page = Image.new("RGB", (sheet.width, head.height + sheet.height), draw.PAPER)
    page.paste(head, (0, 0))
    page.paste(sheet, (0, head.height))
    return page


def save_picture(picture: Image.Image, path: str | os.PathLike[str]) -> Path:
    """Writes a PNG or JPEG in one step.

    Raises:
        DrawingError: another ending.
    """
    kind = picture_format(path)
    with atomic_open(path) as file:
        picture.save(file, format=kind, quality=92)
    return Path(path)


def picture_format(path: str | os.PathLike[str]) -> str:
    """``PNG`` or ``JPEG``, by the ending of a name.

    Raises:
        DrawingError: another ending.
    """
    ending = Path(path).suffix.lower()
    if ending not in (".png", ".jpg", ".jpeg"):
        raise DrawingError(f"{path}: expected a name that ends in .png or .jpg.")
    return "PNG" if ending == ".png" else "JPEG"


def _tile(answer: Answer, width: int) -> Image.Image:
    picture = draw_answer(answer, width)
    verdict, ink = _verdict(answer)
    if verdict:
        strip = Image.new("RGB", (width, _STATUS_SIZE + 9), draw.PAPER)
        pen = ImageDraw.Draw(strip)
        pen.rectangle((3, 8, _STATUS_SIZE, 5 + _STATUS_SIZE), fill=ink)
        pen.text((_STATUS_SIZE + 7, 4), verdict, font=draw.font(_STATUS_SIZE), fill=ink)
        picture = _stacked(picture, strip)
    return draw.captioned(picture, _quoted(answer.text), width, lines=2)


def _verdict(answer: Answer) -> tuple[str, Colour]:
    masks = "" if answer.mask_iou is None else f"mask IoU {answer.mask_iou:.2f}"
    if answer.iou is None:
        return (masks, draw.INK) if answer.prediction.status == "ok" else (answer.prediction.status, MISS)
    if not valid_boxes(as_boxes([top_box(answer.prediction)]))[0]:
        return ("miss, no usable box", MISS) if not masks else (masks, draw.INK)
    hit = answer.iou >= HIT_THRESHOLD
    words = [f"{'hit' if hit else 'miss'}, IoU {answer.iou:.2f}", masks]
    return ", ".join(filter(None, words)), HIT if hit else MISS


def _summary(answers: Sequence[Answer]) -> str:
    overlaps = [iou for answer in answers if (iou := answer.iou) is not None]
    masks = [iou for answer in answers if (iou := answer.mask_iou) is not None]
    hits = sum(iou >= HIT_THRESHOLD for iou in overlaps)
    words = [
        f"{hits} of {len(overlaps)} hit (IoU at least {HIT_THRESHOLD})" if overlaps else "",
        f"mean mask IoU of {len(masks)}: {np.mean(masks):.2f}" if masks else "",
    ]
    return "; ".join(filter(None, words)) or f"{len(answers)} answers"


def _head(width: int, title: str, summary: str, legend: Sequence[tuple[Colour, str]]) -> Image.Image:
    """Title, summary and legend, one below the other."""
    head = Image.new("RGB", (width, 92), draw.PAPER)
    pen = ImageDraw.Draw(head)
    pen.text((9, 8), _shortened(title, width - 18, 20), font=draw.font(20), fill=draw.INK)
    pen.text((9, 38), _shortened(summary, width - 18, 15), font=draw.font(15), fill=draw.INK)
    x = 9.0
    for ink, name in legend:
        pen.rectangle((x, 66, x + 14, 80), outline=ink, width=3)
        pen.text((x + 21, 63), name, font=draw.font(15), fill=draw.INK)
        x += 21 + draw.font(15).getlength(name) + 24
    return head


def _shortened(text: str, room: float, size: int) -> str:
    """The text, or as much of its start as fits ``room`` pixels with an ellipsis."""
    letters = draw.font(size)
    if letters.getlength(text) <= room:
        return text
    while text and letters.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"


def _quoted(text: str) -> str:
    return f"“{text}”"


def _stacked(upper: Image.Image, lower: Image.Image) -> Image.Image:
    both = Image.new("RGB", (upper.width, upper.height + lower.height), draw.PAPER)
    both.paste(upper, (0, 0))
    both.paste(lower, (0, upper.height))
    return both
