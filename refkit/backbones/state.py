"""Weight files in, modules filled: safe to read, strict to load, readable when they do not fit."""

from __future__ import annotations

import difflib
import hashlib
import pickle
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import refkit

StateDict = dict[str, Tensor]

_LISTED = 12
_ADAPTER = re.compile(r"\.lora_[a-zA-Z_]+(\.|$)")
_WRAPPED = "base_model.model."
_KINSHIP = 0.5  # below this share of common names, lists of missing ones explain nothing
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


class StateDigest:
    """Hexadecimal digest of tensors, computed again only after one of them has changed."""

    def __init__(self) -> None:
        self._known: tuple[Any, str] | None = None

    def __call__(self, state: Mapping[str, Tensor], about: str) -> str:
        """Of the tensors by name, and of a text on what else matters."""
        stamp = (about, *((value.data_ptr(), value._version) for value in state.values()))
        if self._known is None or self._known[0] != stamp:
            made = hashlib.sha256(about.encode())
            for name, value in state.items():
                made.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                made.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
            self._known = stamp, made.hexdigest()
        return self._known[1]


def locate(path: str | Path) -> Path:
    """A relative path means the working folder first, then the checkout, where ``model_zoo`` is."""
    shipped = Path(refkit.__file__).parents[1] / path
    return shipped if not Path(path).is_file() and shipped.is_file() else Path(path)


@contextmanager
def open_safetensors(path: str | Path) -> Iterator[Any]:
    """A safetensors file, open for names, tensors and metadata.

    Raises:
        WeightError: no safetensors file, or a damaged one.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WeightError(f"{path}: damaged, cut short or not a safetensors file ({error})") from error


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    with open_safetensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)


def _read_torch(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch's reader raises whatever damaged bytes lead it to
        raise WeightError(f"{path}: {_unreadable(path, error)}") from error
    if not isinstance(content, Mapping):
        raise WeightError(f"{path}: expected tensors by name, found {type(content).__name__}")
    return content


def _unreadable(path: Path, error: Exception) -> str:
    """Why torch's safe reader gave up, without its advice to read the file unsafely."""
    unsafe = re.search(r"GLOBAL (\S+)", str(error))
    if unsafe or (isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path)):
        what = f" ({unsafe[1]})" if unsafe else ""
        return (
            f"holds more than tensors{what}, and refkit runs no code from a file; turn a released checkpoint "
            "into a model with 'refkit zoo import', or save its tensors as safetensors"
        )
    return "damaged, cut short or not a weight file; fetch or copy it again and compare its size"


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
    lines += [hint] if (hint := _other_model(own, state)) else []
    lines += _listing(
        "missing in the file", [_with_nearest(name, unexpected) for name in missing[:_LISTED]], missing
    )
    lines += _listing(
        "unknown to the model", [_with_nearest(name, missing) for name in unexpected[:_LISTED]], unexpected
    )
    lines += _listing("of another shape", wrong[:_LISTED], wrong)
    return "\n".join(lines)


def foreign_layout(names: Iterable[str]) -> str | None:
    """What a file holds instead of a model of refkit, and the remedy; None where the names do not tell."""
    names = list(names)
    if names and all(_ADAPTER.search(name) for name in names):
        return (
            "It holds adapter matrices (LoRA) alone, which are nothing without the weights they were trained "
            "on: merge them into their model first and save the whole"
        )
    if any(_WRAPPED in name for name in names):
        return (
            f"Its names ({_WRAPPED}…) are those of a model wrapped by peft, as HiVG was released: turn it "
            "into a refkit model with 'refkit zoo import'"
        )
    return None


def _other_model(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str | None:
    common = sum(name in own for name in state)
    if common > _KINSHIP * max(len(own), len(state)):
        return None
    there, here = (", ".join(sorted({name.split(".")[0] for name in names})[:4]) for names in (own, state))
    return (
        f"Only {common} names occur in both, so these are weights of another family or size: the model's "
        f"names begin with {there}, the file's with {here}"
    )


def _listing(title: str, shown: list[str], every: list[str]) -> list[str]:
    if not every:
        return []
    more = [f"  … and {len(every) - len(shown)} more"] if len(every) > len(shown) else []
    return [f"{len(every)} {title}:", *(f"  {line}" for line in shown), *more]


def _with_nearest(name: str, others: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, others, n=1, cutoff=0.7)
    return f"{name} (near: {near[0]})" if near else name
