"""BEiT-3 weights from released files or refkit's own, positions resized to the picture at hand."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refkit.backbones.state import StateDict, WeightError, load_strictly, locate, read_state_dict

_LOG = logging.getLogger(__name__)
_POSITIONS = "beit3.encoder.embed_positions.A.weight"
_PARTS = ("beit3.", "language_head.", "vision_head.", "logit_scale")
_FRESH = ("language_head.*", "vision_head.*", "logit_scale")
_KEPT_ROWS = 3  # two unused ones and the class token


def load_backbone(module: nn.Module, path: str | Path, grid: tuple[int, int]) -> None:
    """Fill a `BEiT3Backbone` from a file.

    Args:
        module: the backbone.
        path: a released file (``{"model": …}``, any float type), or a refkit model with a BEiT-3 backbone.
            Heads in it are passed over; the two projections may be missing and then stay as they are, for
            files of plain BEiT-3 do not have them.
        grid: of the model's patches; the position table is resized to it.

    Raises:
        WeightError: unreadable file, none of a BEiT-3, or one of another size.
    """
    state = backbone_state(read_state_dict(locate(path)), str(path))
    own = module.state_dict()
    if fresh := sorted(name for name in own if name not in state and not name.startswith("beit3.")):
        _LOG.info("%s has no %s: they start from random values", path, ", ".join(fresh))
    spare = {name: value for name, value in state.items() if name in own or name.startswith("beit3.")}
    load_strictly(module, fit_positions(spare, grid), str(path), allow_missing=_FRESH)


def backbone_state(state: Mapping[str, Tensor], source: str) -> StateDict:
    """The tensors of the backbone alone, by their published names.

    Raises:
        WeightError: there is no BEiT-3 in it.
    """
    named = {name.removeprefix("module.").removeprefix("backbone."): value for name, value in state.items()}
    kept = {name: value for name, value in named.items() if name.startswith(_PARTS)}
    if not any(name.startswith("beit3.encoder.layers.") for name in kept):
        seen = ", ".join(sorted({".".join(name.split(".")[:2]) for name in state})[:8])
        raise WeightError(
            f"{source}: no BEiT-3 in it (names begin with {seen}); expected a released BEiT-3 or OneRef "
            "file, or a refkit model with a BEiT3Backbone"
        )
    return kept


def fit_positions(state: Mapping[str, Tensor], grid: tuple[int, int], name: str = _POSITIONS) -> StateDict:
    """``state`` with its visual position table resized to ``grid``."""
    positions = state.get(name)
    return dict(state) if positions is None else {**state, name: resize_positions(positions, grid)}


def resize_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """A position table ``(3 + n, C)`` of a square grid for another grid: ``(3 + rows * columns, C)``.

    Two unused rows and the class token's stay as they are; the rest is resized bicubically in float32,
    corners not aligned, without antialias (OneRef, ``utils.load_model_and_may_interpolate``). A table that
    fits is returned as it is.

    Raises:
        WeightError: the table is not that of a square grid.
    """
    patches = len(positions) - _KEPT_ROWS
    side = round(max(patches, 0) ** 0.5)
    if patches < 1 or side * side != patches:
        raise WeightError(
            f"a position table of {len(positions)} rows is not 3 + a square number: it is not BEiT-3's"
        )
    if (side, side) == grid:
        return positions
    planes = positions[_KEPT_ROWS:].float().T.reshape(1, -1, side, side)
    resized = F.interpolate(planes, grid, mode="bicubic", align_corners=False)
    return torch.cat((positions[:_KEPT_ROWS].float(), resized.flatten(2)[0].T)).to(
        torch.promote_types(positions.dtype, torch.float32)
    )
