"""Renaming tensors by rules that work in both directions, and comparing the result with a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import torch
from torch import Tensor

from refkit.backbones.state import WeightError
from refkit.registry import MODELS

Rule = tuple[str, str]
"""Published and refkit pattern; ``{n}`` is a number, ``{rest}`` the remainder of the name."""

_LISTED = 12
_FIELDS = {"n": r"(?P<n>\d+)", "j": r"(?P<j>\d+)", "rest": r"(?P<rest>.*)"}


def rename(name: str, rules: Sequence[Rule]) -> str | None:
    """The refkit name of a published one by the first rule that fits, or None."""
    return _apply(name, [(published, ours) for published, ours in rules])


def published_name(name: str, rules: Sequence[Rule]) -> str:
    """The published name of a refkit one; itself where no rule fits."""
    return _apply(name, [(ours, published) for published, ours in rules]) or name


def _apply(name: str, rules: Sequence[Rule]) -> str | None:
    for source, target in rules:
        if found := _compiled(source).fullmatch(name):
            return target.format(**found.groupdict())
    return None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", lambda field: _FIELDS[field[1]], re.escape(pattern)))


def require_fit(
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    unknown: Sequence[str],
    rules: Sequence[Rule],
    lacking: Sequence[str] = (),
) -> None:
    """Compare a converted state with the model of ``config``, built without memory.

    Args:
        config: of the model.
        state: converted tensors.
        unknown: published names that no rule knew.
        rules: to report missing tensors under their published names.
        lacking: patterns (``fnmatch``) of names of the model that such a file does not have.

    Raises:
        WeightError: every missing and unknown name and every wrong shape.
    """
    with torch.device("meta"):
        own = MODELS.build(dict(config)).state_dict()
    require_shapes(own, state, unknown, rules, lacking)


def require_shapes(
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    unknown: Sequence[str],
    rules: Sequence[Rule],
    lacking: Sequence[str] = (),
) -> None:
    """`require_fit` with a model's own state dict, of which only names and shapes are looked at."""
    missing = [
        published_name(name, rules)
        for name in own
        if name not in state and not any(fnmatchcase(name, pattern) for pattern in lacking)
    ]
    strange = [*unknown, *(published_name(name, rules) for name in state if name not in own)]
    wrong = [
        f"{published_name(name, rules)}: {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if missing or strange or wrong:
        raise WeightError(
            "the checkpoint does not have the layout it was said to have"
            + _listing("missing", missing)
            + _listing("unknown", strange)
            + _listing("of another shape", wrong)
        )


def _listing(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    more = [f"… and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return f"\n{len(lines)} {title}:" + "".join(f"\n  {line}" for line in [*lines[:_LISTED], *more])
