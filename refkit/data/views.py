"""Nested views of a region: boxes, crops and pixels, exactly as DynRefer's published numbers were made.

Zhao et al., "DynRefer", CVPR 2025, section 3.1. A view of ratio ``t`` is a crop between the region
(``t = 0``) and the whole picture (``t = 1``). Notation: ``R`` regions of one picture, ``V`` views of each,
``S`` side of a view in pixels. Boxes are xyxy pixels. The released code truncates boxes to whole pixels and
multiplies in float32; both are kept here, because a pixel more or less changes the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from refkit import rle

CANDIDATES = tuple((step + 1) / 10 for step in range(10))
"""Ratios that the views after the first are taken from."""
SIDE = 224
"""Pixels of a side of a published view."""

Box = tuple[float, float, float, float]


class RegionError(ValueError):
    """A region that no view can be made of."""


def region_box(segmentation: Any, width: int, height: int) -> Box:
    """The box of a region from its outline; the released code reads nothing else.

    Args:
        segmentation: polygons ``[[x, y, …], …]``, or an RLE whose counts are text or a list.
        width: of the picture, in pixels.
        height: of the picture, in pixels.

    Returns:
        Of polygons the bounds, at least one pixel wide and high. Of an RLE the first and the last covered
        column and row, so that right and bottom are one less than those of a polygon around the same pixels.

    Raises:
        RegionError: no polygon, or a mask that is empty or of another size.
    """
    if isinstance(segmentation, dict):
        return _mask_box(segmentation, width, height)
    try:
        points = np.concatenate([np.asarray(part, np.float64).reshape(-1, 2) for part in segmentation])
    except (TypeError, ValueError) as error:
        raise RegionError("segmentation: expected polygons [[x, y, …], …] or an RLE") from error
    bounds = np.concatenate((points.min(0), points.max(0)))[None]
    left, top, right, bottom = widened(bounds, width, height)[0].tolist()
    return left, top, right, bottom


def _mask_box(mask: dict[str, Any], width: int, height: int) -> Box:
    packed = mask
    try:
        if isinstance(mask.get("counts"), list):
            packed = rle.encode(_decoded_runs(mask["counts"], width, height))
        fault = rle.mask_fault(packed, height, width)
    except (TypeError, ValueError) as error:
        raise RegionError(f"segmentation: {error}") from error
    if fault:
        raise RegionError(f"segmentation.{fault[0]}: {fault[1]}")
    bounds = rle.bounds(packed)
    if bounds is None:
        raise RegionError("segmentation: the mask covers no pixel")
    return bounds[0], bounds[1], bounds[2] - 1, bounds[3] - 1


def _decoded_runs(counts: Sequence[int], width: int, height: int) -> np.ndarray:
    runs = np.asarray(counts, np.int64)
    if (runs < 0).any() or int(runs.sum()) != width * height:
        raise RegionError(f"the runs cover {int(runs.sum())} pixels, the picture has {width * height}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def widened(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Boxes at least one pixel wide and high, as the released code repairs narrow ones.

    The right and the bottom edge stay where they are, unless they lie at 0.

    Args:
        boxes: ``(R, 4)``.
        width: of the picture, in pixels.
        height: of the picture, in pixels.

    Returns:
        ``(R, 4)`` float64. A box narrower than a pixel at the left or top border may start below 0.
    """
    fixed = np.array(boxes, np.float64)
    for axis, extent in ((0, width), (1, height)):
        low, high = fixed[:, axis].copy(), fixed[:, axis + 2].copy()
        narrow = low >= high - 1
        back = narrow & (high > 0)
        forth = narrow & ~back & (low < extent)
        fixed[back, axis] = high[back] - 1
        fixed[forth, axis + 2] = low[forth] + 1
    return fixed


def check_regions(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Regions ``(R, 4)`` float64 that views can be made of.

    Raises:
        RegionError: a box that is not finite, is reversed, has no area or lies outside the picture; the
            message tells which.
    """
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise RegionError(f"expected boxes (R, 4), got {boxes.shape}")
    low, high = boxes[:, :2], boxes[:, 2:]
    faults = (
        (~np.isfinite(boxes).all(1), "is not finite"),
        ((low > high).any(1), "is reversed (xyxy expected: left < right, top < bottom)"),
        ((low == high).any(1), "has no area"),
        (((high <= 0) | (low >= (width, height))).any(1), f"lies outside the picture of {width} x {height}"),
    )
    for bad, reason in faults:
        if bad.any():
            row = int(bad.argmax())
            raise RegionError(f"region {row}: box {boxes[row].tolist()} {reason}")
    return boxes


def view_boxes(regions: np.ndarray, ratios: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes of views before they become whole pixels: ``(R, V, 4)`` float32 (the paper's equation 1).

    Args:
        regions: ``(R, 4)``.
        ratios: ``(R, V)`` or ``(V,)`` within [0, 1].
        size: ``(width, height)`` of the picture.
    """
    boxes = np.asarray(regions, np.float32)[:, None]
    whole = np.array((0, 0, *size), np.float32)
    ratios = np.broadcast_to(np.asarray(ratios, np.float32), (len(boxes), np.shape(ratios)[-1]))
    return boxes + (whole - boxes) * ratios[..., None]


def crop_boxes(regions: np.ndarray, ratios: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Crops of views: clipped to the picture, then truncated to whole pixels, ``(R, V, 4)`` int64.

    A region that covers no pixel after truncation gets the pixel that it lies in; the released code fails
    there.

    Args:
        regions: ``(R, 4)``.
        ratios: ``(R, V)`` or ``(V,)`` within [0, 1].
        size: ``(width, height)`` of the picture.
    """
    limits = np.array((*size, *size), np.float32)
    crops = np.clip(view_boxes(regions, ratios, size), 0, limits).astype(np.int64)
    for axis in (0, 1):
        empty = crops[..., axis + 2] <= crops[..., axis]
        crops[..., axis][empty] = np.minimum(crops[..., axis][empty], size[axis] - 1)
        crops[..., axis + 2][empty] = crops[..., axis][empty] + 1
    return crops


def regions_in_views(
    regions: np.ndarray, crops: np.ndarray, size: tuple[int, int], side: int = SIDE
) -> np.ndarray:
    """Where the region lies inside every view: ``(R, V, 4)`` float32, whole pixels of a view of ``side``.

    Factor and product are float32 and the result is truncated, so that the right edge of the first view is
    223 and not 224 for some widths of a crop.

    Args:
        regions: ``(R, 4)``.
        crops: ``(R, V, 4)`` int64 of `crop_boxes`.
        size: ``(width, height)`` of the picture.
        side: of a view, in pixels.
    """
    tight = crop_boxes(regions, np.zeros(1), size)
    inside = (tight - np.tile(crops[..., :2], 2)).astype(np.float32)
    extent = crops[..., 2:] - crops[..., :2]
    factor = np.tile((side / extent).astype(np.float32), 2)
    return np.trunc(inside * factor)


def cut_views(image: np.ndarray, crops: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Pixels of views: every crop resized to a square by Pillow's bicubic filter.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        crops: ``(N, 4)`` int64 inside the picture.
        side: of a view, in pixels.

    Returns:
        ``(N, 3, S, S)`` uint8. Crops that occur several times are resized once.
    """
    from PIL import Image  # importers need the boxes of this file only, and shall start at once

    distinct, index = np.unique(crops, axis=0, return_inverse=True)
    views = np.empty((len(distinct), 3, side, side), np.uint8)
    for row, (left, top, right, bottom) in enumerate(distinct.tolist()):
        cut = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
        views[row] = np.asarray(cut.resize((side, side), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    return views[index.reshape(-1)]


def distinct_views(views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equal views once, so that they pass through the tower once.

    Args:
        views: ``(N, 3, S, S)`` uint8.

    Returns:
        ``(U, 3, S, S)`` in order of appearance, and ``(N,)`` int64 that says which one each view is.
    """
    numbers: dict[bytes, int] = {}
    index = np.array([numbers.setdefault(view.tobytes(), len(numbers)) for view in views], np.int64)
    first = np.unique(index, return_index=True)[1]
    return views[first], index
