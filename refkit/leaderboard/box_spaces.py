"""The coordinate spaces that a prediction file may declare, and the one conversion to pixels.

A space is declared in the header and never guessed; `implausible` only says when numbers look like another
space. Boxes are ``(k, 4)`` float64, ``width`` and ``height`` those of the original image in pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
Size = tuple[float, float]

PIXEL = "xyxy-pixel"
MINIMUM_TO_JUDGE = 10
"""Of fewer boxes every single one has to look wrong before a doubt is told."""


def _unchanged(boxes: Boxes, size: Size, input_size: Size | None) -> Boxes:
    return boxes


def _from_xywh(boxes: Boxes, size: Size, input_size: Size | None) -> Boxes:
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)


def _from_unit(boxes: Boxes, size: Size, input_size: Size | None) -> Boxes:
    return boxes * np.array((*size, *size))


def _from_thousandths(boxes: Boxes, size: Size, input_size: Size | None) -> Boxes:
    return boxes * np.array((*size, *size)) / 1000.0


def _from_padded_unit(boxes: Boxes, size: Size, input_size: Size | None) -> Boxes:
    side = max(size)
    margin = np.array([(side - size[0]) / 2, (side - size[1]) / 2])
    return boxes * side - np.tile(margin, 2)


def _from_input(boxes: Boxes, size: Size, input_size: Size | None) -> Boxes:
    if input_size is None:
        raise ValueError("boxes of the space xyxy-input need the size of the network input")
    return boxes * np.array((*size, *size)) / np.array((*input_size, *input_size))


BOX_SPACES: dict[str, Callable[[Boxes, Size, Size | None], Boxes]] = {
    PIXEL: _unchanged,
    "xywh-pixel": _from_xywh,
    "xyxy-thousandths": _from_thousandths,
    "xyxy-unit": _from_unit,
    "xyxy-unit-padded": _from_padded_unit,
    "xyxy-input": _from_input,
}
"""Spaces by name. ``unit``: fractions of width and height. ``unit-padded``: fractions of the square with the
image in its middle, whose side is the longer side of the image. ``input``: pixels of a network input that
shows
the whole image, resized to ``input_size`` without padding."""


def to_pixels(boxes: Boxes, space: str, size: Size, input_size: Size | None = None) -> Boxes:
    """Boxes of a declared space as xyxy pixels of the original image.

    Args:
        boxes: ``(k, 4)`` in the declared space.
        space: a key of `BOX_SPACES`.
        size: width and height of the original image in pixels.
        input_size: width and height of the network input in pixels, needed by ``xyxy-input`` only.

    Raises:
        ValueError: ``xyxy-input`` without an input size.
    """
    return BOX_SPACES[space](boxes, size, input_size)


def implausible(boxes: Boxes, sizes: NDArray[np.float64], space: str) -> str | None:
    """A warning where most boxes, or all of a few, look as if they were in another space than declared.

    Args:
        boxes: ``(n, 4)`` as they stand in the file; rows with NaN are left out.
        sizes: ``(n, 2)`` width and height of their images in pixels.
        space: the declared space.

    Returns:
        One sentence with the share of suspicious boxes, or None.
    """
    finite = np.isfinite(boxes).all(axis=1)
    boxes, sizes = boxes[finite], sizes[finite]
    if not len(boxes):
        return None
    judge = _unit_doubt if space.startswith("xyxy-unit") else _large_number_doubt
    doubt = judge(boxes, sizes, space)
    if doubt is None:
        return None
    share, look, other = doubt
    return f"{share:.0%} of the boxes {look}, but the header declares {space!r}; are they {other}?"


Doubt = tuple[float, str, str]


def _doubtful_share(doubtful: NDArray[np.bool_], tolerated: float) -> float:
    """The share of doubtful boxes where it is more than tolerated, else 0; a few boxes have to be so all."""
    share = float(doubtful.mean())
    enough = share == 1.0 if len(doubtful) < MINIMUM_TO_JUDGE else share > tolerated
    return share if enough else 0.0


def _unit_doubt(boxes: Boxes, sizes: NDArray[np.float64], space: str) -> Doubt | None:
    outside = _doubtful_share(boxes.max(axis=1) > 2, 0.5)
    return (
        (outside, "lie far outside the unit square", "'xyxy-pixel' or 'xyxy-thousandths'")
        if outside
        else None
    )


def _large_number_doubt(boxes: Boxes, sizes: NDArray[np.float64], space: str) -> Doubt | None:
    largest = boxes.max(axis=1)
    unit = _doubtful_share(largest <= 1.5, 0.5)
    if unit:
        return unit, "fit the unit square", "'xyxy-unit'"
    if space == "xyxy-thousandths":
        above = _doubtful_share(largest > 1000, 0.05)
        return (above, "have numbers above 1000", "'xyxy-pixel'") if above else None
    return _pixel_doubt(boxes, sizes, space) if space in (PIXEL, "xywh-pixel") else None


def _pixel_doubt(boxes: Boxes, sizes: NDArray[np.float64], space: str) -> Doubt | None:
    if space == PIXEL:
        reversed_corners = _doubtful_share((boxes[:, 2:] < boxes[:, :2]).max(axis=1), 0.1)
        if reversed_corners:
            return reversed_corners, "have reversed corners", "'xywh-pixel'"
    far = boxes[:, 2:] if space == PIXEL else boxes[:, :2] + boxes[:, 2:]
    outside = _doubtful_share((far > 1.1 * sizes).max(axis=1), 0.2)
    if not outside:
        return None
    other = (
        "'xyxy-pixel'"
        if space == "xywh-pixel"
        else "'xyxy-thousandths', 'xyxy-input' or pixels of a padded image"
    )
    return outside, "reach far outside their image", other
