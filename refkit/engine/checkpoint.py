"""Checkpoint files: free of unsafe pickles, written whole or not at all, checked before they are believed.

A training checkpoint is ``iter_<completed iterations>.pth`` with a companion ``iter_<n>.pth.sha256`` (the
format of ``sha256sum``). The companion is written first and the checkpoint renamed into place last, so a
process killed at any moment leaves either the complete pair or nothing under the checkpoint's name.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from refkit.data.files import atomic_open, atomic_write
from refkit.zoo.weights import read_metadata

_NAME = re.compile(r"iter_(\d+)\.pth")
_LOG_SCALARS = "log_scalars"


class CheckpointError(RuntimeError):
    """A checkpoint that is damaged, unsafe, or does not fit the run that wants to continue from it."""


def checkpoint_path(folder: str | Path, iteration: int) -> Path:
    """Where the checkpoint after so many completed iterations lies."""
    return Path(folder) / f"iter_{iteration}.pth"


def list_checkpoints(folder: str | Path) -> list[Path]:
    """The training checkpoints of a folder, oldest first, whether intact or not."""
    found = [
        (int(match[1]), file)
        for file in Path(folder).glob("iter_*.pth")
        if (match := _NAME.fullmatch(file.name))
    ]
    return [file for _, file in sorted(found)]


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint and its checksum; the checkpoint appears under its name only once it is on the disk.

    Args:
        checkpoint: nested dicts and lists of tensors and plain values. Numpy scalars and log histories are
            turned into safe values first; anything else that is unsafe is refused.
        path: the final name.

    Raises:
        CheckpointError: the content could not be loaded back with ``weights_only=True``.
    """
    safe = make_safe(checkpoint)
    with atomic_open(path) as file:
        hashing = _HashingWriter(file)
        torch.save(safe, cast("IO[bytes]", hashing))
        atomic_write(_companion(path), f"{hashing.hexdigest()}  {path.name}\n")


class _HashingWriter(io.RawIOBase):
    """A write-only file that keeps the SHA-256 of what went through (torch.save writes front to back)."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, with torch's safe loader, and rebuild its log histories.

    Raises:
        CheckpointError: missing, torn, not matching its checksum, or holding unsafe objects.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError(f"{file}: no such checkpoint")
    require_intact(file)
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{file}: cannot be loaded safely ({type(error).__name__}): the file is damaged or was not "
            "written by refkit; import foreign checkpoints with 'refkit zoo import'"
        ) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{file}: holds a {type(checkpoint).__name__}, not a checkpoint")
    if "message_hub" in checkpoint:
        scalars = checkpoint["message_hub"][_LOG_SCALARS]
        checkpoint["message_hub"][_LOG_SCALARS] = {
            key: _rebuild_history(value) for key, value in scalars.items()
        }
    return checkpoint


def trained_without(path: str | Path) -> list[str]:
    """Names of the parts that a model was trained without, as its weights file or checkpoint tells.

    Empty for files that refkit did not write. Tensors are not read.
    """
    if Path(path).suffix == ".safetensors":
        model = read_metadata(path).get("model")
        return list(model.get("without", ())) if isinstance(model, dict) else []
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # torch's format before 1.6, which cannot be mapped, and which refkit never wrote
        return []
    meta = checkpoint.get("meta") if isinstance(checkpoint, dict) else None
    return list(meta.get("without", ())) if isinstance(meta, dict) else []


def find_damage(path: Path) -> str | None:
    """Why a checkpoint cannot be trusted, or None where its checksum matches."""
    companion = _companion(path)
    if not companion.is_file():
        return f"its checksum {companion.name} is missing"
    expected = companion.read_text("utf-8", errors="replace").split(maxsplit=1)
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if not expected or actual != expected[0]:
        return "its content does not match its checksum (torn or corrupt file)"
    return None


def require_intact(path: Path) -> None:
    """Refuse a file that contradicts its checksum; a file without one (published weights) passes.

    Raises:
        CheckpointError: torn or corrupt.
    """
    problem = find_damage(path) if _companion(path).is_file() else None
    if problem:
        raise CheckpointError(f"{path}: {problem}")


def find_resumable(folder: str | Path, warn: Callable[[str], None]) -> Path | None:
    """The newest intact checkpoint of a folder; damaged newer ones are reported and passed over.

    Args:
        folder: the work directory.
        warn: receives one message per checkpoint passed over.

    Returns:
        The checkpoint, or None where the folder has none at all.

    Raises:
        CheckpointError: there are checkpoints and every one is damaged. (Starting over silently would lose
            them.)
    """
    candidates = list_checkpoints(folder)
    for path in reversed(candidates):
        problem = find_damage(path)
        if problem is None:
            return path
        warn(f"{path}: {problem}; trying the checkpoint before it")
    if candidates:
        raise CheckpointError(
            f"{folder}: none of the {len(candidates)} checkpoints is intact; "
            "to start from the beginning, delete them or choose another --work-dir"
        )
    return None


def remove_checkpoint(path: Path) -> None:
    """Delete a checkpoint, then its checksum, so that no moment shows a checkpoint without one."""
    path.unlink(missing_ok=True)
    _companion(path).unlink(missing_ok=True)


def remove_leftovers(folder: str | Path) -> None:
    """Delete the temporary files that a killed process left behind in a work directory."""
    for leftover in Path(folder).glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def make_safe(value: Any) -> Any:
    """A copy of nested content with only what torch's safe loader accepts.

    Raises:
        CheckpointError: an object of a type that a safe checkpoint cannot hold.
    """
    if isinstance(value, HistoryBuffer):
        history, counts = value.data
        return {
            "history": torch.from_numpy(np.float64(history)),
            "counts": torch.from_numpy(np.float64(counts)),
        }
    if isinstance(value, torch.Tensor) or value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, dict):
        return {make_safe(key): make_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [make_safe(item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    raise CheckpointError(
        f"a checkpoint cannot hold a {type(value).__module__}.{type(value).__qualname__}: "
        "keep tensors, numbers, text, lists and dicts in whatever is saved"
    )


def _rebuild_history(stored: dict[str, torch.Tensor]) -> HistoryBuffer:
    return HistoryBuffer(stored["history"].numpy().copy(), stored["counts"].numpy().copy())


def _companion(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
