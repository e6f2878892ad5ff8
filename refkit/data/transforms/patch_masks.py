"""Which patches of a picture are hidden: pure functions over a grid of patches.

Referring-aware dynamic masking (OneRef, section 3.2): more is hidden where the target is, so that it has to
be told from the sentence and from what is around it. ``beta`` is the share hidden around the target,
``gamma`` the share hidden of the region. A share ``r`` of ``n`` patches means exactly
``n - int(n (1 - r))`` of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_BLOCK = 16
"""Patches of the smallest block, unless less is left to hide (BEiT)."""
ASPECT = 0.3
"""Height over width of a block lies between this and its inverse (BEiT)."""


@dataclass(frozen=True, slots=True)
class Span:
    """A rectangle of patches: columns ``left … right - 1``, rows ``top … bottom - 1``."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def empty(self) -> bool:
        """Whether no patch is in it."""
        return self.left >= self.right or self.top >= self.bottom


def touched_patches(boxes: np.ndarray, canvas: tuple[int, int], grid: tuple[int, int]) -> list[Span]:
    """The patches that each box touches.

    Args:
        boxes: ``(K, 4)`` xyxy in pixels of the canvas.
        canvas: ``(width, height)`` in pixels.
        grid: ``(rows, columns)``.
    """
    corners = _in_patches(boxes, canvas, grid)
    return [_clipped(np.floor(box[:2]), np.ceil(box[2:]), grid) for box in corners]


def published_patches(
    boxes: np.ndarray, canvas: tuple[int, int], grid: tuple[int, int], margin: int = 1
) -> list[Span]:
    """Corners cut to whole patches toward zero, then one patch more on every side (released code).

    Arguments as for `touched_patches`; ``margin`` in patches.
    """
    corners = np.trunc(_in_patches(boxes, canvas, grid))
    return [_clipped(box[:2] - margin, box[2:] + margin, grid) for box in corners]


def hidden_count(count: int, share: float) -> int:
    """How many of ``count`` patches are hidden: ``count - int(count (1 - share))``."""
    return count - int(count * (1 - share))


def uniform_mask(rng: np.random.Generator, grid: tuple[int, int], share: float) -> np.ndarray:
    """``(rows, columns)`` bool: an exact share of all patches, wherever the target is."""
    mask = np.zeros(grid, bool)
    _hide(rng, mask, np.ones(grid, bool), share)
    return mask


def published_mask(
    rng: np.random.Generator, grid: tuple[int, int], spans: Sequence[Span], beta: float, gamma: float
) -> np.ndarray:
    """The sampling of the released code, which knows no blocks.

    An exact share ``beta`` of the whole grid is drawn; the region is then drawn anew with an exact share
    ``gamma``, so that the share outside varies about ``beta``.

    Args:
        rng: source of all randomness.
        grid: ``(rows, columns)``.
        spans: of the region, see `published_patches`; several are taken together.
        beta: share hidden in the whole grid at first.
        gamma: share hidden in the region.

    Returns:
        ``(rows, columns)`` bool, True = hidden.
    """
    mask = uniform_mask(rng, grid, beta)
    region = region_of(spans, grid)
    mask &= ~region
    _hide(rng, mask, region, gamma)
    return mask


def block_mask(
    rng: np.random.Generator,
    grid: tuple[int, int],
    spans: Sequence[Span],
    beta: float,
    gamma: float,
    min_block: int = MIN_BLOCK,
    aspect: float = ASPECT,
) -> np.ndarray:
    """Algorithm 1 of the paper: blocks inside the region, single patches around it.

    Blocks are added until ``gamma`` of the region is hidden, exactly: of the last one, what is too much stays
    visible. Their size is uniform between ``min_block`` and what is still to be hidden, their aspect ratio
    log-uniform; each covers a patch that was visible, so that the loop ends. The paper gives ``a … 1/a`` for
    the aspect ratio and no sizes; both are BEiT's here.

    Args:
        rng: source of all randomness.
        grid: ``(rows, columns)``.
        spans: of the region, see `touched_patches`.
        beta: share hidden outside the region.
        gamma: share hidden in the region.
        min_block: patches of the smallest block.
        aspect: ``a``, in (0, 1].

    Returns:
        ``(rows, columns)`` bool, True = hidden.
    """
    region = region_of(spans, grid)
    mask = np.zeros(grid, bool)
    _hide(rng, mask, ~region, beta)
    wanted = hidden_count(int(region.sum()), gamma)
    hidden = np.zeros(grid, bool)
    while (left := wanted - int(hidden.sum())) > 0:
        block = _block(rng, spans, region & ~hidden, left, min_block, aspect)
        fresh = np.flatnonzero(block & region & ~hidden)
        hidden.flat[fresh[:left]] = True
    return mask | hidden


def region_of(spans: Sequence[Span], grid: tuple[int, int]) -> np.ndarray:
    """``(rows, columns)`` bool: the patches of all spans."""
    region = np.zeros(grid, bool)
    for span in spans:
        if not span.empty:
            region[span.top : span.bottom, span.left : span.right] = True
    return region


def _block(
    rng: np.random.Generator,
    spans: Sequence[Span],
    visible: np.ndarray,
    left: int,
    min_block: int,
    aspect: float,
) -> np.ndarray:
    """A block inside one span, over a random one of the visible patches."""
    row, column = divmod(int(rng.choice(np.flatnonzero(visible))), visible.shape[1])
    around = [s for s in spans if s.left <= column < s.right and s.top <= row < s.bottom]
    span = around[int(rng.integers(len(around)))]
    area = int(rng.integers(min(min_block, left), left + 1))
    ratio = math.exp(rng.uniform(math.log(aspect), -math.log(aspect)))
    height = min(max(round(math.sqrt(area * ratio)), 1), span.bottom - span.top)
    width = min(max(round(math.sqrt(area / ratio)), 1), span.right - span.left)
    top = _start(rng, row, height, span.top, span.bottom)
    start = _start(rng, column, width, span.left, span.right)
    block = np.zeros(visible.shape, bool)
    block[top : top + height, start : start + width] = True
    return block


def _start(rng: np.random.Generator, place: int, length: int, low: int, high: int) -> int:
    """First index of ``length`` places within ``low … high - 1`` that hold ``place``."""
    return int(rng.integers(max(low, place - length + 1), min(place, high - length) + 1))


def _hide(rng: np.random.Generator, mask: np.ndarray, among: np.ndarray, share: float) -> None:
    """Hide an exact share of the patches ``among``, uniformly at random, in place."""
    places = np.flatnonzero(among)
    mask.flat[rng.choice(places, hidden_count(len(places), share), replace=False)] = True


def _in_patches(boxes: np.ndarray, canvas: tuple[int, int], grid: tuple[int, int]) -> np.ndarray:
    width, height = canvas
    rows, columns = grid
    scale = np.array([columns / width, rows / height] * 2)
    return np.asarray(boxes, np.float64).reshape(-1, 4) * scale


def _clipped(low: np.ndarray, high: np.ndarray, grid: tuple[int, int]) -> Span:
    rows, columns = grid
    left, right = (int(min(max(corner[0], 0), columns)) for corner in (low, high))
    top, bottom = (int(min(max(corner[1], 0), rows)) for corner in (low, high))
    return Span(left, top, right, bottom)
