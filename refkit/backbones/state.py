"""Weight files in, modules filled: safe to read, strict to load, readable when they do not fit."""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

StateDict = dict[str, Tensor]

_LISTED = 12
_NESTS = ("state_dict", "model_state_dict", "model")


class WeightError(RuntimeError):
    """A weight file that cannot be read safely, or that does not fit the module it is meant for."""


def read_state_dict(path: str | Path) -> StateDict:
    """Tensors by name from a ``.safetensors`` file or a torch file, nothing in it executed.

    A torch file may hold the tensors themselves or a checkpoint with them under ``state_dict`` or ``model``.

    Raises:
        WeightError: missing, damaged or unsafe file, or one without tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightError(f"no weight file at {path}")
    content: Mapping[str, Any] = (
        _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    )
    for nest in _NESTS:
        if isinstance(content.get(nest), Mapping):
            content = content[nest]
            break
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise WeightError(
            f"{path}: holds no tensors (top-level keys: {', '.join(map(str, list(content)[:_LISTED]))})"
        )
    return state


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightError(f"{path}: damaged or not a safetensors file ({error})") from error


def _read_torch(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except pickle.UnpicklingError as error:
        raise WeightError(
            f"{path}: holds more than tensors, and refkit loads no code from a file; "
            f"save its tensors as safetensors first ({str(error).splitlines()[0]})"
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise WeightError(f"{path}: damaged or not a weight file ({str(error).splitlines()[0]})") from error
    if not isinstance(content, Mapping):
        raise WeightError(f"{path}: expected tensors by name, found {type(content).__name__}")
    return content


def load_strictly(
    module: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
) -> None:
    """Copy ``state`` into ``module``; every difference that is not allowed by name stops it before anything
    changes.

    Args:
        module: what to fill.
        state: tensors by name; another float type is converted to the module's.
        source: where they come from, for messages.
        allow_missing: patterns (``fnmatch``) of names of the module that the source may lack; they keep
            their values.
        allow_unexpected: patterns of names of the source that the module has no place for; they are ignored.

    Raises:
        WeightError: missing or unexpected names (with the nearest name of the other side) and wrong shapes,
            all listed.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state and not _matches(name, allow_missing)]
    unexpected = [name for name in state if name not in own and not _matches(name, allow_unexpected)]
    wrong = [
        f"{name}: {tuple(state[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if missing or unexpected or wrong:
        raise WeightError(_report(source, type(module).__name__, own, state, missing, unexpected, wrong))
    module.load_state_dict({name: value for name, value in state.items() if name in own}, strict=False)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _report(
    source: str,
    module: str,
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    missing: list[str],
    unexpected: list[str],
    wrong: list[str],
) -> str:
    lines = [f"{source} does not fit {module} ({len(own)} tensors there, {len(state)} here)"]
    lines += _listing(
        "missing in the file", [_with_nearest(name, unexpected) for name in missing[:_LISTED]], missing
    )
    lines += _listing(
        "unknown to the model", [_with_nearest(name, missing) for name in unexpected[:_LISTED]], unexpected
    )
    lines += _listing("of another shape", wrong[:_LISTED], wrong)
    return "\n".join(lines)


def _listing(title: str, shown: list[str], every: list[str]) -> list[str]:
    if not every:
        return []
    more = [f"  … and {len(every) - len(shown)} more"] if len(every) > len(shown) else []
    return [f"{len(every)} {title}:", *(f"  {line}" for line in shown), *more]


def _with_nearest(name: str, others: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, others, n=1, cutoff=0.7)
    return f"{name} (near: {near[0]})" if near else name
