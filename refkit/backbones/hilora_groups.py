"""Which blocks a stage of HiLoRA opens: presets, equal groups, checks against a model's block lists."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

Groups = list[list[int]]

_VISION = "backbone.clip.vision_model.encoder.layers"
_TEXT = "backbone.clip.text_model.encoder.layers"

PRESETS: dict[str, dict[str, Any]] = {
    "published": {
        "groups": {_VISION: "published"},
        "whole": (_TEXT,),
        "always": ("backbone.bridges",),
        "frozen": ("backbone.clip",),
        "targets": ("q_proj", "k_proj", "v_proj", "out_proj"),
        "init": "kaiming",
        "fresh": False,
    },
    "paper": {
        "groups": {_VISION: "paper"},
        "whole": (_TEXT,),
        "always": (),
        "frozen": ("backbone.clip",),
        "targets": ("q_proj", "k_proj", "v_proj", "fc1", "fc2"),
        "init": "gaussian",
        "fresh": True,
    },
}
"""Released code: `linhuixiao/HiVG`, commit 51f9233, ``--hi_lora_stage``; paper: section 3.3 and details
of the experiments. Groups of either depend on the number of blocks, see `resolve_groups`."""

_PUBLISHED_LAST_BLOCKS = (4, 7, 11)
_PAPER_GROUPS = {12: 3, 24: 4}


class AdapterError(ValueError):
    """Adapters that do not fit the model or the weights they are meant for."""


def resolve_groups(
    model: nn.Module, groups: Mapping[str, str | int | Sequence[Sequence[int]]], order: str
) -> dict[str, Groups]:
    """For each block list, the blocks that each stage opens.

    Args:
        model: has the lists.
        groups: see `HiLoRA`; ``"published"`` and ``"paper"`` are the groups of the presets.
        order: see `HiLoRA`.

    Raises:
        AdapterError: no such list or block, an empty stage, lists with unequal numbers of stages, or a preset
            for another number of blocks.
    """
    resolved = {name: _resolve(model, name, wanted, order) for name, wanted in groups.items()}
    counts = {name: len(lists) for name, lists in resolved.items()}
    if len(set(counts.values())) > 1:
        raise AdapterError(f"HiLoRA: every block list needs the same number of stages, got {counts}")
    return resolved


def equal_groups(blocks: int, count: int, order: str) -> Groups:
    """Stage ``k`` opens the first ``k`` of ``count`` groups whose sizes differ by at most one block.

    >>> equal_groups(4, 2, "deep-first")
    [[2, 3], [0, 1, 2, 3]]
    """
    ends = [round((group + 1) * blocks / count) for group in range(count)]
    if order == "deep-first":
        return [list(range(blocks - end, blocks)) for end in ends]
    return [list(range(end)) for end in ends]


def require_module(model: nn.Module, name: str) -> nn.Module:
    """The module of that name.

    Raises:
        AdapterError: there is none; the nearest name is given.
    """
    try:
        return model.get_submodule(name)
    except AttributeError:
        near = difflib.get_close_matches(name, [name for name, _ in model.named_modules()], n=1, cutoff=0.3)
        raise AdapterError(
            f"HiLoRA: {type(model).__name__} has no {name!r}; nearest: {', '.join(near) or 'none'}"
        ) from None


def is_under(name: str, part: str) -> bool:
    """Whether ``name`` is ``part`` or lies inside it; everything lies inside the empty name."""
    return not part or name == part or name.startswith(f"{part}.")


def _resolve(model: nn.Module, name: str, wanted: str | int | Sequence[Sequence[int]], order: str) -> Groups:
    blocks = len(list(require_module(model, name).children()))
    if isinstance(wanted, str):
        wanted = _preset_groups(name, wanted, blocks)
    if isinstance(wanted, int):
        if not 1 <= wanted <= blocks:
            raise AdapterError(f"HiLoRA: {wanted} groups of the {blocks} blocks in {name!r}")
        return equal_groups(blocks, wanted, order)
    lists = [list(stage) for stage in wanted]
    wrong = sorted({block for stage in lists for block in stage if not 0 <= block < blocks})
    if wrong or not lists or not all(lists):
        reason = f"has no block {wrong[0]}" if wrong else "needs at least one block in each stage"
        raise AdapterError(f"HiLoRA: {name!r} ({blocks} blocks, from 0 to {blocks - 1}) {reason}")
    return lists


def _preset_groups(name: str, preset: str, blocks: int) -> int | Groups:
    if preset == "published" and blocks in _PAPER_GROUPS:
        return [list(range(last + 1)) for last in _PUBLISHED_LAST_BLOCKS]
    if preset == "paper" and blocks in _PAPER_GROUPS:
        return _PAPER_GROUPS[blocks]
    raise AdapterError(
        f"HiLoRA: the groups of preset {preset!r} are made for 12 or 24 blocks, {name!r} has {blocks}: give "
        f"groups, such as {{{name!r}: 2}} for two equal ones"
    )
