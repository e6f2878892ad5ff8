"""Random crops that keep what the sentence is about."""

from __future__ import annotations

import numpy as np

from refkit.data.arguments import require_length, require_probability
from refkit.data.transforms import primitives
from refkit.registry import TRANSFORMS
from refkit.structures import ReferringSample


@TRANSFORMS.register_module()
class RandomCrop:
    """Cut out a window of random size and place, of which every target is a part.

    Width and height are uniform whole numbers in [min_size, min(side, max_size)]; up to ``tries`` windows are
    drawn, and if none is accepted the sample stays whole. Boxes are clipped to the window; a window that
    leaves a target without area (or without mask pixels) is never accepted.

    A window is accepted when at least ``min_visible`` of every target's visible area lies in it. With
    ``published=True`` the rule of the released HiVG and OneRef code applies instead: box centre x >
    top of the window and centre y > its left edge. The axes are swapped there and far edges are not looked
    at, so that a target may be cut to a sliver; this exists to reproduce published training, minus its empty
    boxes.

    Args:
        min_size: smallest side of the window in pixels; a canvas side below it is kept whole.
        max_size: largest side of the window in pixels.
        tries: windows drawn before giving up.
        min_visible: smallest accepted share of a target's area.
        published: use the released code's acceptance rule.
    """

    def __init__(
        self,
        min_size: int = 384,
        max_size: int = 600,
        tries: int = 20,
        min_visible: float = 0.7,
        published: bool = False,
    ) -> None:
        self.min_size = require_length("min_size", min_size)
        self.max_size = require_length("max_size", max_size)
        if max_size < min_size:
            raise ValueError(f"max_size={max_size} is smaller than min_size={min_size}")
        self.tries = require_length("tries", tries)
        self.min_visible = require_probability("min_visible", min_visible)
        self.published = published

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The first accepted window, or the sample itself."""
        height, width = primitives.canvas_image(sample).shape[:2]
        for _ in range(self.tries):
            size = self._draw_side(width, rng), self._draw_side(height, rng)
            top, left = int(rng.integers(0, height - size[1] + 1)), int(rng.integers(0, width - size[0] + 1))
            if not self._accepts(sample.boxes, left, top, size, (width, height)):
                continue
            try:
                cropped = primitives.crop(sample, left, top, size)
            except primitives.DegenerateBoxError:
                continue
            if _keeps_masks(sample, cropped):
                return cropped
        return sample

    def _draw_side(self, side: int, rng: np.random.Generator) -> int:
        return int(rng.integers(min(self.min_size, side), min(self.max_size, side) + 1))

    def _accepts(
        self, boxes: np.ndarray, left: int, top: int, size: tuple[int, int], canvas: tuple[int, int]
    ) -> bool:
        if self.published:
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2
            return bool((centres > (top, left)).all())
        visible = _area_inside(boxes, (0, 0, *canvas))
        kept = _area_inside(boxes, (left, top, left + size[0], top + size[1]))
        return bool((kept >= self.min_visible * visible).all())


def _area_inside(boxes: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    low = np.maximum(boxes[:, :2], np.asarray(window[:2], np.float32))
    high = np.minimum(boxes[:, 2:], np.asarray(window[2:], np.float32))
    return np.clip(high - low, 0, None).prod(axis=1)


def _keeps_masks(before: ReferringSample, after: ReferringSample) -> bool:
    if before.masks is None or after.masks is None:
        return True
    had = before.masks.any(axis=(1, 2))
    return bool((after.masks.any(axis=(1, 2)) | ~had).all())
