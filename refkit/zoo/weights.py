"""Save a model's weights as safetensors, and load them strictly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from refkit.backbones.clip_weights import clip_weights, fit_positions
from refkit.backbones.state import (
    WeightError,
    foreign_layout,
    load_strictly,
    open_safetensors,
    read_state_dict,
)
from refkit.data.files import atomic_write

__all__ = ["WeightError", "load_tower", "load_weights", "read_metadata", "save_weights", "tensor_names"]


def load_weights(
    model: nn.Module,
    path_or_state: str | Path | Mapping[str, Tensor],
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
) -> None:
    """Fill ``model``; every difference that is not allowed by name is an error, and then no value changes.

    Adapter layers (see `ReferringModel.fit_adapters`) are added or removed as the tensors need.

    Args:
        model: what to fill.
        path_or_state: ``.safetensors``, a torch file (tensors, or a checkpoint with ``state_dict``), or
            tensors by name.
        allow_missing: patterns of names the source may lack, as ``heads.mask.*``.
        allow_unexpected: patterns of names of the source to ignore.

    Raises:
        WeightError: what is missing, unknown or of another shape, with the nearest names; or an unreadable
            file.
    """
    if isinstance(path_or_state, Mapping):
        state, source = path_or_state, "the given tensors"
    else:
        state, source = read_state_dict(path_or_state), str(path_or_state)
    if hint := foreign_layout(state):
        raise WeightError(f"{source}: not a model of refkit. {hint}.")
    if fit := getattr(model, "fit_adapters", None):
        fit(state)
    load_strictly(model, state, source, allow_missing, allow_unexpected)


def load_tower(model: nn.Module, path: str | Path) -> None:
    """Fill the CLIP towers of ``model`` (a `CLIPBackbone` or a model with one as ``backbone``) from a file.

    The file holds a CLIP in transformers', open_clip's or refkit's layout (weights of `CLIPPretrain`
    included); visual positions are resized to the model's grid.

    Raises:
        WeightError: as `load_weights`.
    """
    backbone: Any = getattr(model, "backbone", model)
    if not hasattr(backbone, "clip"):
        raise WeightError(f"{type(model).__name__} has no CLIP towers to load into")
    load_strictly(backbone.clip, fit_positions(clip_weights("", path), backbone.size.grid), str(path))


def save_weights(
    model: nn.Module, path: str | Path, metadata: Mapping[str, Any] | None = None, half: bool = False
) -> Path:
    """Write the state dict of ``model`` as safetensors, in one step.

    Args:
        model: its parameters and persistent buffers are written from any device.
        path: ends in ``.safetensors``.
        metadata: JSON-able values by name, read back by `read_metadata`.
        half: store floats as float16 (half the size; loading converts back to the model's type).
    """
    from safetensors.torch import save

    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightError(f"{path}: weights are saved as .safetensors")
    tensors = {name: _stored(value, half) for name, value in model.state_dict().items()}
    return atomic_write(path, save(tensors, metadata=described(metadata or {})))


def described(metadata: Mapping[str, Any]) -> dict[str, str] | None:
    """Metadata as safetensors holds it: JSON texts by name; None where there is none."""
    return {key: json.dumps(value) for key, value in metadata.items()} or None


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What `save_weights` was given as ``metadata``; values that are not JSON come back as text.

    Raises:
        WeightError: no safetensors file, or a damaged one.
    """
    with open_safetensors(path) as file:
        return {key: _parsed(value) for key, value in (file.metadata() or {}).items()}


def tensor_names(path: str | Path) -> list[str]:
    """Names of the tensors of a safetensors file; the tensors themselves are not read.

    Raises:
        WeightError: no safetensors file, or a damaged one.
    """
    with open_safetensors(path) as file:
        return list(file.keys())


def _stored(value: Tensor, half: bool) -> Tensor:
    value = value.detach().cpu()
    return (value.to(torch.float16) if half and value.is_floating_point() else value).contiguous().clone()


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
