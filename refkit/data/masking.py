"""What Mask Referring Modeling hides: patches in and around the region, and words of the expression.

Xiao et al., OneRef, NeurIPS 2024, section 3.2. Pure functions on arrays; all randomness comes from ``rng``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

MaskRule = Literal["published", "paper", "uniform"]
_SMALLEST_BLOCK = 16  # patches, as BEiT's blocks
_FLATTEST_BLOCK = 0.3  # height over width
_TRIES = 100


def region_of(box: np.ndarray, canvas: tuple[int, int], grid: tuple[int, int], margin: int = 1) -> np.ndarray:
    """Patches that belong to a box: ``(left, top, right, bottom)`` int64, right and bottom excluded.

    Args:
        box: ``(4,)`` xyxy in pixels of the canvas.
        canvas: ``(width, height)`` in pixels.
        grid: ``(rows, columns)`` of patches.
        margin: patches added on every side, after corners have been cut to whole patches.
    """
    columns_rows = np.asarray(grid[::-1] * 2)
    corners = np.trunc(np.asarray(box, np.float64) * columns_rows / np.asarray(canvas * 2)).astype(np.int64)
    return np.clip(corners + np.asarray([-margin, -margin, margin, margin]), 0, columns_rows)


def hide_patches(
    region: np.ndarray,
    grid: tuple[int, int],
    rng: np.random.Generator,
    rule: MaskRule = "published",
    context_ratio: float = 0.35,
    region_ratio: float = 0.75,
) -> np.ndarray:
    """Which patches to hide: ``(rows * columns,)`` bool, row-major.

    Args:
        region: as `region_of` gives it.
        grid: ``(rows, columns)``.
        rng: source of randomness.
        rule: ``published`` (released code): an exact number of patches of the whole grid, uniformly, then an
            exact number in the region instead; ``paper`` (algorithm 1): the same around the region, in it
            blocks until the ratio is reached; ``uniform``: plain masked modeling, the region plays no part.
        context_ratio: beta of the paper.
        region_ratio: gamma of the paper.
    """
    hidden = _exactly(grid, context_ratio, rng)
    left, top, right, bottom = (int(side) for side in region)
    shape = (bottom - top, right - left)
    if rule != "uniform" and min(shape) > 0:
        inside = _exactly if rule == "published" else _blocks
        hidden[top:bottom, left:right] = inside(shape, region_ratio, rng)
    return hidden.reshape(-1)


def hide_words(
    ids: np.ndarray,
    length: int,
    first: Sequence[int],
    rng: np.random.Generator,
    mask_id: int,
    replacements: range,
    ratio: float = 0.4,
) -> tuple[np.ndarray, np.ndarray]:
    """Hide words of one framed text; start is never hidden, end may be.

    Of what is hidden, 80 % become ``mask_id``, 10 % another id, 10 % stay.

    Args:
        ids: ``(T,)`` int64.
        length: tokens that are not padding, start and end included; at least 2.
        first: positions that are hidden first, while the number lasts (subject, then object).
        rng: source of randomness.
        mask_id: id of a hidden word.
        replacements: ids to draw others from.
        ratio: of the tokens after the start.

    Returns:
        The new ids ``(T,)``, and which positions are hidden ``(T,)`` bool.
    """
    number = min(max(int(ratio * (length - 1) + 0.5), 1), length - 1)
    chosen = [place for place in dict.fromkeys(first) if 0 < place < length][:number]
    others = np.setdiff1d(np.arange(1, length), chosen)
    chosen += rng.choice(others, number - len(chosen), replace=False).tolist()
    masked = np.zeros(len(ids), bool)
    masked[chosen] = True
    draw = rng.random(len(ids))
    drawn = rng.integers(replacements.start, replacements.stop, len(ids))
    changed = np.where(draw < 0.8, mask_id, np.where(draw < 0.9, drawn, ids))
    return np.where(masked, changed, ids), masked


def _exactly(shape: tuple[int, int], ratio: float, rng: np.random.Generator) -> np.ndarray:
    """``(rows, columns)`` bool with ``n - int(n (1 - ratio))`` patches hidden, the released code's number."""
    patches = shape[0] * shape[1]
    hidden = np.zeros(patches, bool)
    hidden[rng.permutation(patches)[: patches - int(patches * (1 - ratio))]] = True
    return hidden.reshape(shape)


def _blocks(shape: tuple[int, int], ratio: float, rng: np.random.Generator) -> np.ndarray:
    """``(rows, columns)`` bool: blocks of random size, shape and place until ``ratio`` is hidden."""
    hidden = np.zeros(shape, bool)
    goal = ratio * hidden.size
    for _ in range(_TRIES):
        missing = goal - hidden.sum()
        if missing <= 0:
            return hidden
        area = rng.uniform(min(_SMALLEST_BLOCK, missing), max(missing, _SMALLEST_BLOCK))
        flatness = np.exp(rng.uniform(np.log(_FLATTEST_BLOCK), -np.log(_FLATTEST_BLOCK)))
        height, width = (
            min(max(round(np.sqrt(size)), 1), side)
            for size, side in zip((area * flatness, area / flatness), shape, strict=True)
        )
        top, left = (rng.integers(side - size + 1) for side, size in zip(shape, (height, width), strict=True))
        hidden[top : top + height, left : left + width] = True
    left_over = np.flatnonzero(~hidden.reshape(-1))
    hidden.reshape(-1)[rng.permutation(left_over)[: int(np.ceil(goal - hidden.sum()))]] = True
    return hidden
