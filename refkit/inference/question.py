"""What a model is asked: a picture and a sentence, checked before any model is loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from refkit.data.images import load_image

Picture = str | Path | Image.Image | np.ndarray


class QuestionError(ValueError):
    """A question that no model can answer: an empty sentence, or pixels that are no picture."""


def check_expression(text: str) -> str:
    """The text itself.

    Raises:
        QuestionError: it is empty.
    """
    if not text.strip():
        raise QuestionError('the expression is empty; say what to look for, such as "the left dog".')
    return text


def read_picture(image: Picture) -> np.ndarray:
    """``(H, W, 3)`` uint8 RGB of a file, a PIL image or an array, turned upright as its EXIF tag says.

    Raises:
        ImageError: the file is missing or cannot be read.
        QuestionError: an array of another shape or type.
    """
    if isinstance(image, str | Path):
        pixels = load_image(image)
        with Image.open(image) as opened:
            return _upright(pixels, opened.getexif().get(ExifTags.Base.Orientation))
    if isinstance(image, Image.Image):
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise QuestionError(f"expected pixels (H, W, 3) of uint8 RGB, got {image.shape} of {image.dtype}.")
    return image


def _upright(pixels: np.ndarray, orientation: int | None) -> np.ndarray:
    if orientation in (None, 1):
        return pixels
    stored = Image.fromarray(pixels)
    stored.getexif()[ExifTags.Base.Orientation] = orientation
    return np.asarray(ImageOps.exif_transpose(stored))
