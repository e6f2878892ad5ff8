"""The four moves that every geometric transform is made of: resize, crop, paste, mirror.

Each takes a sample and returns a new one in which image, boxes, masks, padding and frame agree. Notation:
``K`` targets, ``H, W`` rows and columns of the canvas; boxes ``(K, 4)`` float32 xyxy in pixels of the canvas.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from refkit.structures import ReferringSample

Pair = tuple[float, float]
# A side shorter than this many pixels of the canvas is no side: far below anything visible, far above
# rounding.
MIN_SIDE = 1e-2


class DegenerateBoxError(ValueError):
    """A box has no area (or is not finite), so no transform may let it through."""


def degenerate(boxes: np.ndarray) -> np.ndarray:
    """``(K,)`` bool: which of the boxes ``(K, 4)`` have a side under `MIN_SIDE` or are not finite."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return ~(np.isfinite(boxes).all(axis=1) & (sides >= MIN_SIDE).all(axis=1))


def check_boxes(sample: ReferringSample, doing: str) -> ReferringSample:
    """The sample itself.

    Raises:
        DegenerateBoxError: one of its boxes has no area; the message names the record and the transform.
    """
    bad = degenerate(sample.boxes)
    if bad.any():
        box = sample.boxes[bad][0].tolist()
        raise DegenerateBoxError(
            f"{sample.id}: {doing} leaves target {int(np.flatnonzero(bad)[0])} without area: {box}"
            f" on a canvas of {sample.frame.canvas[0]} x {sample.frame.canvas[1]} pixels"
        )
    return sample


def canvas_image(sample: ReferringSample) -> np.ndarray:
    """The pixels ``(H, W, 3)`` of a sample that still has them."""
    if sample.image is None:
        raise ValueError(f"{sample.id}: the sample has no pixels; transforms run before collate")
    return sample.image


def resize(sample: ReferringSample, size: tuple[int, int], scale: Pair | None = None) -> ReferringSample:
    """Resize to ``size = (width, height)``: pixels with Pillow's antialiased bilinear filter, masks nearest.

    Args:
        sample: any sample with pixels.
        size: of the new canvas in pixels.
        scale: factors ``(x, y)`` for boxes and frame; by default those of the rounded size. HiVG multiplies
            boxes by the exact ratio instead (released code), which differs by less than half a pixel.
    """
    image = canvas_image(sample)
    height, width = image.shape[:2]
    if scale is None:
        scale = (size[0] / width, size[1] / height)
    if size != (width, height):
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    moved = _moved(sample, scale, (0.0, 0.0), size)
    return check_boxes(
        replace(
            moved,
            image=image,
            masks=None if sample.masks is None else _nearest(sample.masks, size),
            padding=None if sample.padding is None else _nearest(sample.padding, size),
        ),
        f"resizing to {size[0]} x {size[1]}",
    )


def crop(sample: ReferringSample, left: int, top: int, size: tuple[int, int]) -> ReferringSample:
    """Cut the window ``size = (width, height)`` out at (left, top); boxes are clipped to it.

    Raises:
        DegenerateBoxError: a target lies outside the window.
    """
    width, height = size
    rows, columns = slice(top, top + height), slice(left, left + width)
    moved = _moved(sample, (1.0, 1.0), (-float(left), -float(top)), size)
    limits = np.asarray((width, height, width, height), np.float32)
    return check_boxes(
        replace(
            moved,
            image=np.ascontiguousarray(canvas_image(sample)[rows, columns]),
            boxes=np.clip(moved.boxes, np.float32(0), limits),
            masks=None if sample.masks is None else np.ascontiguousarray(sample.masks[:, rows, columns]),
            padding=None if sample.padding is None else np.ascontiguousarray(sample.padding[rows, columns]),
        ),
        "cropping",
    )


def paste(sample: ReferringSample, left: int, top: int, size: tuple[int, int]) -> ReferringSample:
    """Put the canvas onto a new black one of ``size = (width, height)`` at (left, top); the rest is padding.

    Negative offsets and parts that reach beyond the new canvas are cut off; boxes are not clipped, because a
    box is the object's, not the visible part's.
    """
    image = canvas_image(sample)
    source, target = _overlap(image.shape[:2], (left, top), size)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[target] = image[source]
    padding = np.ones((size[1], size[0]), bool)
    padding[target] = False if sample.padding is None else sample.padding[source]
    masks = sample.masks
    if masks is not None:
        masks = np.zeros((len(masks), size[1], size[0]), bool)
        masks[(slice(None), *target)] = sample.masks[(slice(None), *source)]  # type: ignore[index]
    moved = _moved(sample, (1.0, 1.0), (float(left), float(top)), size)
    return replace(moved, image=canvas, masks=masks, padding=padding)


def mirror(sample: ReferringSample) -> ReferringSample:
    """Mirror left and right; the text is the caller's to change."""
    image = canvas_image(sample)
    width = image.shape[1]
    moved = _moved(sample, (-1.0, 1.0), (float(width), 0.0), sample.frame.canvas)
    return replace(
        moved,
        image=np.ascontiguousarray(image[:, ::-1]),
        masks=None if sample.masks is None else np.ascontiguousarray(sample.masks[..., ::-1]),
        padding=None if sample.padding is None else np.ascontiguousarray(sample.padding[:, ::-1]),
    )


def _moved(sample: ReferringSample, scale: Pair, shift: Pair, canvas: tuple[int, int]) -> ReferringSample:
    boxes = sample.boxes.astype(np.float64)
    corners = boxes.reshape(-1, 2, 2) * scale + shift
    ordered = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)
    return replace(sample, boxes=ordered.astype(np.float32), frame=sample.frame.then(scale, shift, canvas))


def _nearest(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Nearest-neighbour resize of planes ``(..., H, W)`` by torch's ``nearest`` rule, floor(i * H / h)."""
    height, width = planes.shape[-2:]
    rows = np.arange(size[1]) * height // size[1]
    columns = np.arange(size[0]) * width // size[0]
    return planes[..., rows[:, None], columns]


def _overlap(
    shape: tuple[int, ...], offset: tuple[int, int], size: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    (height, width), (left, top) = shape, offset
    x0, x1 = max(0, left), min(size[0], left + width)
    y0, y1 = max(0, top), min(size[1], top + height)
    return (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)), (slice(y0, y1), slice(x0, x1))
