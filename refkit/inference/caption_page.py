"""A page of captions: every region with its surroundings, what was written about it, and what people said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from refkit.data import draw
from refkit.data.caption_text import normalise_caption
from refkit.data.views import check_regions, crop_boxes
from refkit.inference.drawing import HIT, MISS, TRUE, titled_page
from refkit.structures import Prediction

SURROUNDINGS = 0.4
"""How far the crop of a tile lies between region (0) and picture (1)."""

_SIZE, _SMALL, _STEP = 14, 12, 18  # of what was written, of what people said, of lines; pixels


@dataclass(frozen=True, slots=True)
class CaptionedRegion:
    """One region that was written about, ready to be drawn.

    Attributes:
        image: RGB, the original picture.
        box: of the region, xyxy in pixels of ``image``.
        prediction: with the caption, or failed.
        references: what people said about the region, one or more.
    """

    image: Image.Image
    box: tuple[float, ...]
    prediction: Prediction
    references: Sequence[str]

    @property
    def word_for_word(self) -> bool:
        """Whether the caption is one of the references, by the spelling in which captions are learnt."""
        known = {normalise_caption(reference) for reference in self.references}
        return normalise_caption(self.prediction.caption or "") in known


def caption_page(
    regions: Sequence[CaptionedRegion], title: str, columns: int = 4, width: int = 280
) -> Image.Image:
    """Many regions on one page.

    Args:
        regions: at least one.
        title: stands at the top.
        columns: tiles per row.
        width: of a tile in pixels.

    Raises:
        ValueError: there is no region.
        RegionError: a box has no pixel of its picture.
    """
    sheet = draw.contact_sheet([_tile(region, width) for region in regions], columns)
    same = sum(region.word_for_word for region in regions)
    summary = f"{same} of {len(regions)} captions word for word as one of the annotators"
    return titled_page(sheet, title, summary, ((TRUE, "region"),))


def _tile(region: CaptionedRegion, width: int) -> Image.Image:
    picture = _surroundings(region, width)
    written = region.prediction.caption or f"({region.prediction.status}: nothing was written)"
    ink = HIT if region.word_for_word else draw.INK if region.prediction.caption else MISS
    said = "people: " + " / ".join(region.references)
    rows = [(line, ink, _SIZE) for line in draw.wrapped(written, width - 6, 3, draw.font(_SIZE))]
    rows += [(line, draw.INK, _SMALL) for line in draw.wrapped(said, width - 6, 3, draw.font(_SMALL))]
    tile = Image.new("RGB", (width, picture.height + _STEP * len(rows) + 8), draw.PAPER)
    tile.paste(picture, (0, 0))
    pen = ImageDraw.Draw(tile)
    for number, (line, colour, size) in enumerate(rows):
        pen.text((3, picture.height + 4 + number * _STEP), line, font=draw.font(size), fill=colour)
    return tile


def _surroundings(region: CaptionedRegion, width: int) -> Image.Image:
    """The crop around the region, in 4:3 or flatter, with the region outlined."""
    boxes = check_regions(np.array([region.box], np.float64), *region.image.size)
    left, top, right, bottom = crop_boxes(boxes, np.array([SURROUNDINGS]), region.image.size)[0, 0].tolist()
    scale = min(width / (right - left), 0.75 * width / (bottom - top))
    size = round((right - left) * scale), round((bottom - top) * scale)
    crop = region.image.convert("RGB").crop((left, top, right, bottom)).resize(size, Image.Resampling.LANCZOS)
    corners = (boxes[0] - (left, top, left, top)) * scale
    draw.draw_box(crop, corners.tolist(), TRUE, width=2)
    return crop
