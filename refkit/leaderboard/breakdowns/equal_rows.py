"""Finding rows that are equal in all columns, among millions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Odd numbers with well mixed bits (Steele, Lea and Flood 2014): columns are told apart by their multiple.
_MIX, _STEP = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x9E3779B97F4A7C15)


def equal_rows(columns: Sequence[NDArray]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """An order in which equal rows stand beside each other.

    Sorting by a hash of the row takes a quarter of the time of sorting by all columns; where two different
    rows share a hash, all columns decide.

    Args:
        columns: ``(n,)`` arrays without NaN, of integers or float64.

    Returns:
        ``(n,)`` numbers of the rows, and ``(n - 1,)`` whether each equals the next in this order.
    """
    hashes = _hashes(columns)
    order = np.argsort(hashes, kind="stable")
    same = _same(columns, order)
    ordered = hashes[order]
    if (same != (ordered[1:] == ordered[:-1])).any():
        order = np.lexsort(columns)
        same = _same(columns, order)
    return order, same


def _hashes(columns: Sequence[NDArray]) -> NDArray[np.uint64]:
    total = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        # adding zero makes one of both zeros
        bits = (column + 0.0 if column.dtype.kind == "f" else column.astype(np.int64)).view(np.uint64)
        total = (total + bits) * _MIX + _STEP
        total ^= total >> np.uint64(29)
    return total


def _same(columns: Sequence[NDArray], order: NDArray[np.int64]) -> NDArray[np.bool_]:
    same = np.ones(max(len(order) - 1, 0), bool)
    for column in columns:
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    return same
