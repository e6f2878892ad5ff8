"""Released checkpoint files: read without running anything in them, converted, written as one model file."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from refkit.backbones.state import WeightError, read_state_dict
from refkit.data.files import atomic_path
from refkit.zoo.layouts import import_published
from refkit.zoo.weights import described

# Training scripts of the field store their command line as this; it holds plain values only.
_ALLOWED: list[Any] = [argparse.Namespace]


def import_file(source: str | Path, layout: str, out: str | Path, **options: Any) -> dict[str, Any]:
    """Turn a released checkpoint into a file that `refkit.inference.inferencer.load_model` takes.

    Args:
        source: the released file, torch or safetensors.
        layout: see `refkit.zoo.layouts.LAYOUTS`.
        out: ends in ``.safetensors``; written under a temporary name and renamed.
        options: of the layout; they win over what the file's own settings say.

    Returns:
        The config, ``{"model": …, "pipeline": …}``.

    Raises:
        WeightError: unreadable, unsafe or truncated file, or not of this layout.
    """
    if Path(out).suffix != ".safetensors":
        raise WeightError(f"{out}: weights are saved as .safetensors")
    state, settings = read_published(source)
    given = {name: value for name, value in options.items() if value is not None}
    try:
        config, weights = import_published(layout, state, **(_stored_options(layout, settings) | given))
    except WeightError as error:
        raise WeightError(f"{source}: {error}") from error
    _write({name: value.detach().contiguous() for name, value in weights.items()}, config, Path(out))
    return config


def read_published(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and stored settings of a released file; beyond tensors only `argparse.Namespace` is admitted.

    Raises:
        WeightError: missing, truncated or unsafe file, or one without tensors.
    """
    if Path(path).suffix == ".safetensors":
        return read_state_dict(path), {}
    with torch.serialization.safe_globals(_ALLOWED):
        state, content = read_state_dict(path), _stored_settings(path)
    return state, content


def _write(tensors: dict[str, Tensor], config: Mapping[str, Any], out: Path) -> None:
    """Tensor by tensor, so that a file of several gigabytes is not in memory a second time."""
    with atomic_path(out) as temporary:
        save_file(tensors, temporary, metadata=described(config))


def _stored_settings(path: str | Path) -> dict[str, Any]:
    content = torch.load(path, map_location="meta", weights_only=True)
    settings = content.get("args") if isinstance(content, Mapping) else None
    return vars(settings) if isinstance(settings, argparse.Namespace) else {}


def _stored_options(layout: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    module = importlib.import_module(f"refkit.zoo.layouts.{layout}")
    return module.options_from(settings) if settings else {}
