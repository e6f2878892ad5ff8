"""Geometric transforms: letterbox, resize, scale, translate, pad, mirror.

Random ones take their numbers from the generator they are handed, so that a sample depends on (seed, epoch,
index) alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from refkit.data.arguments import require_choice, require_length, require_probability
from refkit.data.text_flip import can_flip, flip_text
from refkit.data.transforms import primitives
from refkit.registry import TRANSFORMS
from refkit.structures import ReferringSample


def resize_side(sample: ReferringSample, length: int, side: str) -> ReferringSample:
    """Resize so that the long or short side has ``length`` pixels, keeping the aspect.

    As in HiVG's released code: ratio r = length / side, new size (round(w r), round(h r)) with Python's
    rounding (half to even), boxes times r, not times the ratio of the rounded sizes.
    """
    height, width = primitives.canvas_image(sample).shape[:2]
    ratio = length / float((max if side == "long" else min)(height, width))
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return primitives.resize(sample, size, (ratio, ratio))


def pad_to(sample: ReferringSample, size: int, mode: str, rng: np.random.Generator) -> ReferringSample:
    """Paste onto a ``size`` x ``size`` canvas, centred or at a uniformly random offset; padding mask set."""
    height, width = primitives.canvas_image(sample).shape[:2]
    if max(height, width) > size:
        raise ValueError(
            f"{sample.id}: a picture of {width} x {height} does not fit the canvas of {size} x {size}; "
            "resize before padding"
        )
    if mode == "random":
        top, left = int(rng.integers(0, size - height + 1)), int(rng.integers(0, size - width + 1))
    else:
        # The 0.1 sends an odd pixel to the bottom and right whatever the rounding of halves.
        top, left = round((size - height) / 2 - 0.1), round((size - width) / 2 - 0.1)
    return primitives.paste(sample, left, top, (size, size))


@TRANSFORMS.register_module()
class Resize:
    """Resize the long or short side to ``size`` pixels, keeping the aspect.

    Args:
        size: in pixels.
        side: ``"long"`` or ``"short"``.
    """

    def __init__(self, size: int, side: str = "long") -> None:
        self.size = require_length("size", size)
        self.side = require_choice("side", side, ("long", "short"))

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample, resized; ``rng`` is not used."""
        return resize_side(sample, self.size, self.side)


@TRANSFORMS.register_module()
class RandomResize:
    """Resize the long or short side to one of several lengths, drawn uniformly (HiVG trains with both).

    Args:
        choices: lengths in pixels.
        side: ``"long"`` or ``"short"``.
    """

    def __init__(self, choices: Sequence[int], side: str = "long") -> None:
        if not choices:
            raise ValueError("choices is empty: give at least one length in pixels")
        self.choices = [require_length("choices", choice) for choice in choices]
        self.side = require_choice("side", side, ("long", "short"))

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample at a drawn size, or at the largest if a target would lose its area at the drawn one."""
        length = self.choices[int(rng.integers(len(self.choices)))]
        try:
            return resize_side(sample, length, self.side)
        except primitives.DegenerateBoxError:
            return resize_side(sample, max(self.choices), self.side)


@TRANSFORMS.register_module()
class RandomScale:
    """Resize the canvas by a factor drawn uniformly from [low, high], keeping the aspect.

    Args:
        low: smallest factor, > 0.
        high: largest factor.
    """

    def __init__(self, low: float, high: float) -> None:
        if not 0.0 < low <= high:
            raise ValueError(f"low={low}, high={high}: expected 0 < low <= high")
        self.low, self.high = float(low), float(high)

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample, scaled; unchanged if a target would lose its area."""
        factor = float(rng.uniform(self.low, self.high))
        height, width = primitives.canvas_image(sample).shape[:2]
        size = max(1, round(width * factor)), max(1, round(height * factor))
        try:
            return primitives.resize(sample, size)
        except primitives.DegenerateBoxError:
            return sample


@TRANSFORMS.register_module()
class Pad:
    """Paste onto a square canvas; what is left over is padding.

    Args:
        size: side of the canvas in pixels.
        mode: ``"centre"``, or ``"random"`` for a uniformly random offset (HiVG's ``aug_translate``).
    """

    def __init__(self, size: int, mode: str = "centre") -> None:
        self.size = require_length("size", size)
        self.mode = require_choice("mode", mode, ("centre", "random"))

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample on a ``size`` x ``size`` canvas with its padding mask set."""
        return pad_to(sample, self.size, self.mode, rng)


@TRANSFORMS.register_module()
class Letterbox:
    """Long side to ``size`` pixels, then pad to a square: the evaluation transform of HiVG.

    Args:
        size: side of the canvas in pixels.
        mode: ``"centre"`` or ``"random"``.
    """

    def __init__(self, size: int, mode: str = "centre") -> None:
        self.resize = Resize(size)
        self.pad = Pad(size, mode)

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample on a ``size`` x ``size`` canvas with its padding mask set."""
        return self.pad(self.resize(sample, rng), rng)


@TRANSFORMS.register_module()
class RandomTranslate:
    """Shift the picture on its canvas, as far as every target stays on it; vacated parts are padding.

    Args:
        fraction: largest shift along each axis, as a share of that side.
    """

    def __init__(self, fraction: float = 0.1) -> None:
        self.fraction = require_probability("fraction", fraction)

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample, shifted by whole pixels."""
        height, width = primitives.canvas_image(sample).shape[:2]
        left = self._draw(sample.boxes[:, 0], sample.boxes[:, 2], width, rng)
        top = self._draw(sample.boxes[:, 1], sample.boxes[:, 3], height, rng)
        return primitives.paste(sample, left, top, (width, height))

    def _draw(self, low: np.ndarray, high: np.ndarray, side: int, rng: np.random.Generator) -> int:
        reach = int(self.fraction * side)
        room_before = min([reach, *np.floor(low).astype(int).tolist()])
        room_after = min([reach, *(side - np.ceil(high)).astype(int).tolist()])
        # A box that already reaches over an edge (annotations are not clipped) must not move further out.
        return int(rng.integers(-max(room_before, 0), max(room_after, 0) + 1))


@TRANSFORMS.register_module()
class HorizontalFlip:
    """Mirror picture, boxes and masks, and swap left and right in the text as whole words.

    Samples whose sentence cannot be swapped with certainty (`can_flip`) stay as they are. The recipes of HiVG
    and OneRef use no flip.

    Args:
        p: probability of a flip.
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = require_probability("p", p)

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample, or its mirror image."""
        if rng.random() >= self.p:
            return sample
        references = sample.meta.get("references") or []
        if not all(can_flip(text) for text in (sample.text, *references)):
            return sample
        meta = sample.meta
        if references:
            meta = {**meta, "references": [flip_text(reference) for reference in references]}
        return replace(primitives.mirror(sample), text=flip_text(sample.text), meta=meta)


@TRANSFORMS.register_module()
class TruncateBoxes:
    """Truncate boxes to whole pixels as the published HiVG and TransVG loaders do: for parity only.

    x1 = int(x), y1 = int(y), x2 = x1 + int(w), y2 = y1 + int(h); stands first in a pipeline, while
    boxes are in original pixels. A box narrower than a pixel would lose its area and is kept as annotated.
    """

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample with truncated boxes; ``rng`` is not used."""
        # Annotations have two decimals; rounding to three undoes float32 noise (199.99999 is an annotated
        # 200.0).
        exact = np.round(sample.boxes.astype(np.float64), 3)
        corner = np.trunc(exact[:, :2])
        sides = np.trunc(np.round(exact[:, 2:] - exact[:, :2], 3))
        truncated = np.concatenate((corner, corner + sides), axis=1).astype(np.float32)
        keep = primitives.degenerate(truncated)[:, None]
        return replace(sample, boxes=np.where(keep, sample.boxes, truncated))
