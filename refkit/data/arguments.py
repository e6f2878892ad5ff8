"""Checks of the settings that come from a config, with messages that name setting and remedy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def require_choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """The value, if it is among the allowed ones."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not among {', '.join(map(repr, allowed))}")
    return value


def require_length(name: str, value: int) -> int:
    """The value, if it is a positive whole number of pixels."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}={value!r}: expected a positive whole number of pixels")
    return int(value)


def require_probability(name: str, value: float) -> float:
    """The value, if it lies in [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name}={value!r}: expected a probability between 0 and 1")
    return float(value)
