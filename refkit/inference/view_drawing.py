"""Draws what `refkit describe` tells: regions and what was said of them, and the views that were shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from refkit.data import draw
from refkit.data.views import check_regions, crop_boxes, cut_views, regions_in_views, widened

_GAP = 8
_LEAST_WIDTH = 480
_MOST_LINES, _LETTERS = 4, 13


def draw_views(
    image: Image.Image, box: Sequence[float], ratios: Sequence[float], text: str = "", side: int = 224
) -> Image.Image:
    """One strip: the picture with its views outlined, then the views, the region outlined in each.

    Args:
        image: RGB, the original picture.
        box: of the region, xyxy pixels of ``image``.
        ratios: of the views, in the model's order.
        text: what was said about the region; stands below.
        side: of a view in pixels; the picture is scaled to this height.

    Raises:
        RegionError: the box has no pixel of the picture.
    """
    picture = image.convert("RGB")
    region = widened(check_regions(np.array([box], np.float64), *picture.size), *picture.size)
    crops = crop_boxes(region, np.asarray(ratios), picture.size)
    inside = regions_in_views(region, crops, picture.size, side)[0]
    tiles = [_overview(picture, crops[0], ratios, side)]
    for number, pixels in enumerate(cut_views(np.asarray(picture), crops[0], side)):
        tile = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        draw.draw_box(tile, inside[number].tolist(), draw.colour(number), width=2)
        draw.draw_label(tile, _name(ratios[number]), (0, 0), draw.colour(number))
        tiles.append(tile)
    strip = _beside_each_other(tiles)
    return draw.captioned(strip, text, strip.width, lines=2) if text else strip


def draw_regions(
    image: Image.Image, boxes: Sequence[Sequence[float]], texts: Sequence[str], width: int = _LEAST_WIDTH
) -> Image.Image:
    """The picture with its regions outlined and numbered, and below it what was said about each.

    Args:
        image: RGB, the original picture.
        boxes: of the regions, xyxy pixels of ``image``.
        texts: one per region.
        width: smaller pictures are enlarged to this width, so that numbers do not hide what they name.
    """
    scale = max(1.0, width / image.width)
    size = round(image.width * scale), round(image.height * scale)
    page = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    for number, box in enumerate(boxes):
        left, top, right, bottom = (scale * float(edge) for edge in box)
        draw.draw_box(page, (left, top, right, bottom), draw.colour(number), width=2)
        draw.draw_label(page, str(number + 1), (left, top), draw.colour(number))
    for number, text in enumerate(texts):
        told = f"{number + 1}: {text}"
        lines = len(draw.wrapped(told, page.width - 6, _MOST_LINES, draw.font(_LETTERS)))
        page = draw.captioned(page, told, page.width, lines, _LETTERS)
    return page


def views_page(strips: Sequence[Image.Image]) -> Image.Image:
    """Strips of several regions below each other.

    Raises:
        ValueError: there is none.
    """
    return draw.contact_sheet(strips, columns=1)


def _beside_each_other(tiles: Sequence[Image.Image]) -> Image.Image:
    """Tiles of one height in one row."""
    width = sum(tile.width for tile in tiles) + _GAP * (len(tiles) + 1)
    strip = Image.new("RGB", (width, tiles[0].height + 2 * _GAP), draw.PAPER)
    x = _GAP
    for tile in tiles:
        strip.paste(tile, (x, _GAP))
        x += tile.width + _GAP
    return strip


def _overview(picture: Image.Image, crops: np.ndarray, ratios: Sequence[float], side: int) -> Image.Image:
    """The picture at the height of the views, each view's crop in its colour, the widest first."""
    scale = side / picture.height
    scaled = picture.resize((max(1, round(picture.width * scale)), side), Image.Resampling.LANCZOS)
    for number in np.argsort([-ratio for ratio in ratios], kind="stable").tolist():
        draw.draw_box(scaled, (crops[number] * scale).tolist(), draw.colour(number), width=2)
    return scaled


def _name(ratio: float) -> str:
    return "region" if ratio == 0 else "picture" if ratio == 1 else f"t = {ratio:g}"
