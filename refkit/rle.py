"""COCO compressed run-length masks, checked before they reach C code.

`pycocotools` trusts its input: given runs that do not cover the image it returns whatever was in memory. So
every mask that comes from a file passes `mask_fault` first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def run_lengths(counts: str) -> np.ndarray:
    """Decode the ``counts`` text of a COCO compressed RLE.

    The layout is that of ``rleFrString`` in COCO's ``maskApi.c``: five bits per character from the low end,
    0x20 for "more to come", 0x10 of the last character as sign, and from the fourth run on the difference to
    the run two before.

    Args:
        counts: printable text, characters ``0`` to ``o``.

    Returns:
        ``(R,)`` int64 run lengths in column-major order, background first.

    Raises:
        ValueError: a character outside the alphabet, or a number without end.
    """
    digits = np.frombuffer(counts.encode("utf-8"), np.uint8).astype(np.int64) - 48
    if digits.size == 0 or digits.min() < 0 or digits.max() > 63:
        raise ValueError("not the text of a COCO compressed RLE")
    last = (digits & 0x20) == 0
    if not last[-1]:
        raise ValueError("the text of the RLE ends in the middle of a number")
    starts = np.concatenate(([0], np.flatnonzero(last)[:-1] + 1))
    lengths = np.diff(np.append(starts, digits.size))
    if lengths.max() > 12:
        raise ValueError("a run of the RLE is longer than any image")
    place = np.arange(digits.size) - np.repeat(starts, lengths)
    runs = np.add.reduceat((digits & 0x1F) << (5 * place), starts)
    negative = (digits[last] & 0x10) != 0
    runs[negative] -= np.int64(1) << (5 * lengths[negative])
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def mask_fault(mask: Mapping[str, Any], height: int, width: int) -> tuple[str, str] | None:
    """What is wrong with a mask, as ``(sub-field, reason)``, or None.

    Args:
        mask: ``{"size": [height, width], "counts": str}``.
        height: of the image, in pixels.
        width: of the image, in pixels.
    """
    size, counts = mask.get("size"), mask.get("counts")
    if size != [height, width]:
        return "size", f"{size} is not the image's [height, width] = [{height}, {width}]"
    if not isinstance(counts, str):
        return (
            "counts",
            "expected the text of a COCO compressed RLE (uncompressed lists are converted at import)",
        )
    try:
        runs = run_lengths(counts)
    except ValueError as error:
        return "counts", str(error)
    if (runs < 0).any() or int(runs.sum()) != height * width:
        return "counts", f"the runs cover {int(runs.sum())} pixels, the image has {height * width}"
    return None


def decode(mask: Mapping[str, Any]) -> np.ndarray:
    """The mask as ``(H, W)`` bool.

    Raises:
        ValueError: the runs do not cover the stated size.
    """
    height, width = mask["size"]
    fault = mask_fault(mask, height, width)
    if fault:
        raise ValueError(f"mask.{fault[0]}: {fault[1]}")
    runs = run_lengths(mask["counts"])
    values = np.zeros(len(runs), bool)
    values[1::2] = True
    return np.repeat(values, runs).reshape(width, height).T


def encode(mask: np.ndarray) -> dict[str, Any]:
    """A ``(H, W)`` mask (nonzero = object) as COCO compressed RLE with text counts."""
    from pycocotools import mask as coco

    packed = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in packed["size"]], "counts": packed["counts"].decode("ascii")}


def area(mask: Mapping[str, Any]) -> int:
    """Number of pixels of the object."""
    return int(run_lengths(mask["counts"])[1::2].sum())


def bounds(mask: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """The tightest xyxy box in pixels (right and bottom edges exclusive), None for an empty mask.

    Read from the runs without decoding: a run inside one column bounds the rows by its ends, a longer one
    touches both the top and the bottom edge.
    """
    height = mask["size"][0]
    runs = run_lengths(mask["counts"])
    ends = np.cumsum(runs)[1::2]
    starts = ends - runs[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts] - 1
    if not len(starts):
        return None
    wraps = (starts // height != ends // height).any()
    top, bottom = (0, height - 1) if wraps else ((starts % height).min(), (ends % height).max())
    left, right = starts[0] // height, ends[-1] // height
    return float(left), float(top), float(right + 1), float(bottom + 1)
