"""Arithmetic on paired boxes: ``(n, 4)`` xyxy float64 pixels, row ``i`` of one array belongs to row ``i`` of
the other.

Coordinates are continuous: a box from x = 0 to x = 10 is ten pixels wide. A row with NaN stands for "no
usable box"; it has overlap 0 with everything. Notation: I intersection, U union, C smallest enclosing box.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def as_boxes(boxes: ArrayLike) -> Floats:
    """Anything box-like as ``(n, 4)`` float64.

    Raises:
        ValueError: the shape is not ``(n, 4)``.
    """
    array = np.asarray(boxes, np.float64)
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes must have the shape (n, 4), not {array.shape}")
    return array


def valid_boxes(boxes: Floats) -> Bools:
    """``(n,)``: all four numbers finite and the corners in order; a box without area is valid."""
    ordered = (boxes[:, 2] >= boxes[:, 0]) & (boxes[:, 3] >= boxes[:, 1])
    return np.isfinite(boxes).all(axis=1) & ordered


def clip_boxes(boxes: Floats, sizes: ArrayLike) -> Floats:
    """Boxes cut to their images.

    Args:
        boxes: ``(n, 4)``.
        sizes: ``(n, 2)`` width and height of each image in pixels.

    Returns:
        ``(n, 4)``; a box outside its image loses its area, NaN stays NaN.
    """
    limits = np.tile(np.asarray(sizes, np.float64).reshape(-1, 2), (1, 2))
    return np.clip(boxes, 0.0, limits)


def box_area(boxes: Floats) -> Floats:
    """``(n,)`` width times height; 0 where the corners are reversed."""
    return (boxes[:, 2] - boxes[:, 0]).clip(min=0.0) * (boxes[:, 3] - boxes[:, 1]).clip(min=0.0)


def intersection_and_union(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """``(n,)`` areas of I and U of each pair; both 0 where one of the two boxes is not valid."""
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, 2:], b[:, 2:])
    intersection = (high - low).clip(min=0.0).prod(axis=1)
    union = box_area(a) + box_area(b) - intersection
    usable = valid_boxes(a) & valid_boxes(b)
    return np.where(usable, intersection, 0.0), np.where(usable, union, 0.0)


def paired_iou(a: ArrayLike, b: ArrayLike) -> Floats:
    """IoU = I / U of each pair, ``(n,)`` in 0..1; 0 where U is empty or a box is not valid."""
    intersection, union = intersection_and_union(as_boxes(a), as_boxes(b))
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def paired_giou(a: ArrayLike, b: ArrayLike) -> Floats:
    """Generalised IoU = IoU - (C - U) / C (Rezatofighi et al. 2019, algorithm 1), ``(n,)`` in -1..1.

    -1, the worst value there is, where a box is not valid or C has no area.
    """
    a, b = as_boxes(a), as_boxes(b)
    _, union = intersection_and_union(a, b)
    enclosing = box_area(
        np.concatenate((np.minimum(a[:, :2], b[:, :2]), np.maximum(a[:, 2:], b[:, 2:])), axis=1)
    )
    defined = valid_boxes(a) & valid_boxes(b) & (enclosing > 0)
    empty_share = np.divide(enclosing - union, enclosing, out=np.zeros_like(union), where=defined)
    return np.where(defined, paired_iou(a, b) - empty_share, -1.0)


def paired_pixel_iou(a: ArrayLike, b: ArrayLike) -> Floats:
    """IoU of boxes that hold whole pixels, ``(n,)`` in 0..1 (Google RefExp toolbox, MAttNet).

    The last pixel of a box is ``left + width - 1``; the extent of an intersection counts both ends, and there
    is one only where its first pixel is strictly left of and above its last.
    """
    a, b = as_boxes(a), as_boxes(b)
    low = np.maximum(a[:, :2], b[:, :2])
    last = np.minimum(a[:, 2:], b[:, 2:]) - 1.0
    meets = (low < last).all(axis=1) & valid_boxes(a) & valid_boxes(b)
    intersection = np.where(meets, (last - low + 1.0).prod(axis=1), 0.0)
    union = box_area(a) + box_area(b) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=meets & (union > 0))
