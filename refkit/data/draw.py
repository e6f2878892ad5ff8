"""Drawing on pictures: boxes, masks, labels, captioned tiles, contact sheets. Needs Pillow and NumPy only."""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Okabe and Ito's palette without black: told apart by people with any kind of colour vision.
COLOURS: tuple[Colour, ...] = (
    (213, 94, 0),
    (0, 114, 178),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (86, 180, 233),
    (230, 159, 0),
)
PAPER: Colour = (250, 250, 248)
INK: Colour = (30, 30, 30)


def colour(index: int) -> Colour:
    """The colour of the n-th thing drawn; the cycle starts again after seven."""
    return COLOURS[index % len(COLOURS)]


@lru_cache(maxsize=32)
def font(size: int) -> Font:
    """A font of a height in pixels: DejaVu Sans (Latin, Greek, Cyrillic, …) where matplotlib brings it.

    matplotlib is located, not imported.
    """
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin:
        path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


def line_width(image: Image.Image) -> int:
    """A stroke that stays visible on a picture of this size, in pixels."""
    return max(2, round(min(image.size) / 160))


def draw_box(image: Image.Image, box: Sequence[float], ink: Colour, width: int | None = None) -> None:
    """Outline an xyxy box in place; the parts outside the picture are cut off.

    Args:
        image: RGB.
        box: left, top, right, bottom in pixels of ``image``.
        ink: RGB.
        width: of the stroke in pixels.
    """
    left, top, right, bottom = (float(value) for value in box)
    low_x, high_x = (min(max(value, 0.0), image.width - 1.0) for value in (left, right - 1))
    low_y, high_y = (min(max(value, 0.0), image.height - 1.0) for value in (top, bottom - 1))
    corners = (low_x, low_y, max(low_x, high_x), max(low_y, high_y))
    stroke = width or line_width(image)
    pen = ImageDraw.Draw(image)
    # A dark rim keeps the outline visible on ground of its own colour.
    pen.rectangle(corners, outline=INK, width=stroke + max(1, stroke // 2))
    pen.rectangle(corners, outline=ink, width=stroke)


def draw_mask(image: Image.Image, mask: np.ndarray, ink: Colour, opacity: float = 0.45) -> None:
    """Tint an area in place.

    Args:
        image: RGB, ``H`` rows and ``W`` columns.
        mask: ``(H, W)`` bool.
        ink: RGB.
        opacity: 0 leaves the picture, 1 covers it.

    Raises:
        ValueError: the mask is not of the picture's size.
    """
    _require_size(image, mask)
    alpha = Image.fromarray(np.where(mask, round(255 * opacity), 0).astype(np.uint8))
    image.paste(Image.new("RGB", image.size, ink), (0, 0), alpha)


def draw_outline(image: Image.Image, mask: np.ndarray, ink: Colour, width: int | None = None) -> None:
    """Draw the border of an area in place, on its inner side, with a dark rim as boxes have.

    Args:
        image: RGB, ``H`` rows and ``W`` columns.
        mask: ``(H, W)`` bool.
        ink: RGB.
        width: of the stroke in pixels.

    Raises:
        ValueError: the mask is not of the picture's size.
    """
    _require_size(image, mask)
    stroke = width or line_width(image)
    rim = stroke + max(1, stroke // 2)
    # The edge of the picture is a border too: outside of it there is no area.
    area = Image.fromarray(np.pad(mask, rim).astype(np.uint8) * 255)
    for depth, colour_of_line in ((rim, INK), (stroke, ink)):
        inner = np.asarray(area.filter(ImageFilter.MinFilter(2 * depth + 1)))[rim:-rim, rim:-rim] > 0
        line = Image.fromarray((mask & ~inner).astype(np.uint8) * 255)
        image.paste(Image.new("RGB", image.size, colour_of_line), (0, 0), line)


def _require_size(image: Image.Image, mask: np.ndarray) -> None:
    if mask.shape != (image.height, image.width):
        raise ValueError(
            f"a mask of shape {mask.shape} does not fit a picture of {image.width} x {image.height}"
        )


def draw_label(image: Image.Image, text: str, at: tuple[float, float], ink: Colour, size: int = 0) -> None:
    """Write a short text on a filled ground in place, above a point where there is room, else below it.

    Args:
        image: RGB.
        text: one line.
        at: left and bottom of the label, in pixels (the top left corner of a box).
        ink: of the ground; the letters are black or white, whichever is read better.
        size: of the font in pixels; by default it follows the picture.
    """
    if not text:
        return
    pen = ImageDraw.Draw(image)
    letters = font(size or max(11, round(min(image.size) / 28)))
    left, top, right, bottom = pen.textbbox((0, 0), text, font=letters)
    width, height = right - left + 6, bottom - top + 6
    x = min(max(0.0, at[0]), max(0.0, image.width - width))
    above = at[1] - height
    y = min(above if above >= 0 else max(0.0, at[1]), max(0.0, image.height - height))
    pen.rectangle((x, y, x + width, y + height), fill=ink)
    pen.text((x + 3 - left, y + 3 - top), text, font=letters, fill=_readable_on(ink))


def captioned(image: Image.Image, text: str, width: int, lines: int = 3, size: int = 13) -> Image.Image:
    """A tile: the picture scaled to a width, with wrapped text below it.

    Args:
        image: RGB.
        text: cut off with an ellipsis when it needs more than ``lines``.
        width: of the tile in pixels.
        lines: room for text.
        size: of the font in pixels.
    """
    scaled = image.resize(
        (width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS
    )
    letters = font(size)
    rows = wrapped(text, width - 6, lines, letters)
    step = size + 5
    tile = Image.new("RGB", (width, scaled.height + step * lines + 8), PAPER)
    tile.paste(scaled, (0, 0))
    pen = ImageDraw.Draw(tile)
    for index, line in enumerate(rows):
        pen.text((3, scaled.height + 4 + index * step), line, font=letters, fill=INK)
    return tile


def wrapped(text: str, room: int, lines: int, letters: Font) -> list[str]:
    """The text in lines of at most ``room`` pixels (or of eight characters, where even these need more)."""
    longest = max(8, min(len(text), room))
    for columns in range(longest, 7, -1):
        rows = textwrap.wrap(text, columns, max_lines=lines, placeholder=" …")
        if all(letters.getlength(line) <= room for line in rows):
            break
    return rows


def contact_sheet(tiles: Sequence[Image.Image], columns: int = 4, gap: int = 8) -> Image.Image:
    """Tiles in rows; each row is as high as its highest tile.

    Args:
        tiles: RGB, of one width for even columns.
        columns: tiles per row.
        gap: between tiles and around them, in pixels.

    Raises:
        ValueError: there is no tile, or no column.
    """
    if not tiles or columns < 1:
        raise ValueError(f"a contact sheet needs tiles and columns, got {len(tiles)} and {columns}")
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    width = max(tile.width for tile in tiles)
    heights = [max(tile.height for tile in row) for row in rows]
    across = min(columns, len(tiles))
    sheet = Image.new("RGB", (across * (width + gap) + gap, sum(heights) + gap * (len(rows) + 1)), PAPER)
    y = gap
    for row, height in zip(rows, heights, strict=True):
        for index, tile in enumerate(row):
            sheet.paste(tile, (gap + index * (width + gap), y))
        y += height + gap
    return sheet


def _readable_on(ground: Colour) -> Colour:
    """Black or white by the ground's luma (ITU-R BT.601)."""
    luma = 0.299 * ground[0] + 0.587 * ground[1] + 0.114 * ground[2]
    return (0, 0, 0) if luma > 140 else (255, 255, 255)
