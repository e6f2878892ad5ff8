"""Hashes of crops, which the image prior of DynRefer compares views by.

Two kinds: ``published``, what the released code computes, and ``phash``, the perceptual hash of ImageHash.
Notation: ``N`` crops of one picture ``(H, W)``; crops are ``(N, 4)`` int64 xyxy pixels; a hash is 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from PIL import Image

BITS = 64
"""Of a hash."""

_SIDE = 224
_CORNER = 8
# OpenCV's RGB to grey on uint8: these weights, rounded after a shift by 15 bits.
_GREY = np.array((9798, 19235, 3735), np.float32)
_SHIFT = 1 << 15
_PHASH_SIDE = 32


def published_hash(levels: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """Signs of the 8 x 8 lowest cosine coefficients of every crop in grey, against their mean.

    The released code resizes a crop to 224 x 224 bilinearly (``cv2.resize``), transforms all of it
    (``cv2.dct``) and keeps a corner, the constant one included. Resizing and transform are linear, so one
    matrix per axis does both, and only for what is kept. The coefficients differ from OpenCV's by their
    rounding, about 0.02 where a coefficient is of the order of 100: a bit can differ only where a coefficient
    is that close to the mean.

    Args:
        levels: ``(H, W)`` float32 of `grey`.
        crops: ``(N, 4)``.

    Returns:
        ``(N, 64)`` bool, row-major.
    """
    coefficients = np.empty((len(crops), _CORNER, _CORNER), np.float32)
    for row, (left, top, right, bottom) in enumerate(crops.tolist()):
        cut = levels[top:bottom, left:right]
        coefficients[row] = _cosines(bottom - top) @ cut @ _cosines(right - left).T
    flat = coefficients.reshape(len(crops), -1)
    return flat > flat.mean(1, dtype=np.float64)[:, None]


def grey(image: np.ndarray) -> np.ndarray:
    """Grey levels ``(H, W)`` float32 of a ``(H, W, 3)`` uint8 picture, equal to OpenCV's to the last bit."""
    # Sums of whole numbers below 2^24 are exact in float32.
    sums = image.reshape(-1, 3).astype(np.float32) @ _GREY
    sums += _SHIFT / 2
    sums *= np.float32(1 / _SHIFT)
    return np.floor(sums, out=sums).reshape(image.shape[:2])


@lru_cache(maxsize=4096)
def _cosines(length: int) -> np.ndarray:
    """``(8, length)`` float32: bilinear resizing of an axis to 224, then its lowest cosine coefficients."""
    from scipy.fft import dct

    place = ((np.arange(_SIDE) + 0.5) * (length / _SIDE) - 0.5).astype(np.float32)
    low = np.floor(place).astype(np.int64)
    weight = (place - low).astype(np.float64)
    weight[(low < 0) | (low >= length - 1)] = 0.0
    low = np.clip(low, 0, length - 1)
    resize = np.zeros((_SIDE, length))
    np.add.at(resize, (np.arange(_SIDE), low), 1 - weight)
    np.add.at(resize, (np.arange(_SIDE), np.minimum(low + 1, length - 1)), weight)
    lowest = dct(np.eye(_SIDE), axis=0, norm="ortho")[:_CORNER]
    return (lowest @ resize).astype(np.float32)


def perceptual_hash(levels: Image.Image, crops: np.ndarray) -> np.ndarray:
    """``imagehash.phash`` of every crop: 32 x 32 by Lanczos, cosine transform, signs against the median.

    All crops are transformed together; the bits are those of the library.

    Args:
        levels: the picture in grey, mode ``L``.
        crops: ``(N, 4)``.

    Returns:
        ``(N, 64)`` bool, row-major.
    """
    from scipy.fft import dct

    small = np.empty((len(crops), _PHASH_SIDE, _PHASH_SIDE), np.float64)
    for row, crop in enumerate(crops.tolist()):
        cut = levels.crop(tuple(crop))
        small[row] = np.asarray(cut.resize((_PHASH_SIDE, _PHASH_SIDE), Image.Resampling.LANCZOS))
    corner = dct(dct(small, axis=1)[:, :_CORNER], axis=2)[..., :_CORNER].reshape(len(crops), -1)
    return corner > np.median(corner, axis=1)[:, None]


HASHES: dict[str, Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "published": lambda image: partial(published_hash, grey(image)),
    "phash": lambda image: partial(perceptual_hash, Image.fromarray(image).convert("L")),
}
"""From a picture ``(H, W, 3)`` uint8 RGB, which becomes grey once, to what hashes crops of it."""


class CropHashes:
    """Hashes of crops of one picture; equal crops are hashed once.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        kind: one of `HASHES`.
    """

    def __init__(self, image: np.ndarray, kind: str) -> None:
        self._hash = HASHES[kind](image)
        self._known: dict[tuple[int, ...], np.ndarray] = {}

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """``(…, 64)`` bool of crops ``(…, 4)``."""
        wanted = [tuple(crop) for crop in crops.reshape(-1, 4).tolist()]
        if new := [crop for crop in dict.fromkeys(wanted) if crop not in self._known]:
            self._known.update(zip(new, self._hash(np.array(new)), strict=True))
        return np.stack([self._known[crop] for crop in wanted]).reshape(*crops.shape[:-1], BITS)
