"""Tables of text embeddings on disk: thousands of names go through a text tower once, not in every run.

An entry is found by a digest of everything it depends on: the tower's weights and vocabulary, and the texts.
It is one file, written under a temporary name and renamed, so that any number of processes may share a
folder. An entry that cannot be right is reported, computed again and replaced.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from refkit.backbones.state import WeightError, open_safetensors
from refkit.data.files import atomic_write

_LOG = logging.getLogger(__name__)


class TextTables:
    """A folder of tables.

    Args:
        folder: made if missing. One folder may serve several text towers.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()

    def get(self, made_by: str, texts: Sequence[str], compute: Callable[[], Tensor]) -> Tensor:
        """The table ``(P, C)`` float32 of ``texts``, from disk or else computed and written.

        Args:
            made_by: digest of the text tower.
            texts: ``P`` texts, in order.
            compute: makes the table.
        """
        path = self.path(made_by, texts)
        table = _read(path, len(texts)) if path.is_file() else None
        if table is None:
            table = compute().float().cpu().contiguous()
            atomic_write(path, save({"embeddings": table}, metadata={"check": _checksum(table)}))
        return table

    def path(self, made_by: str, texts: Sequence[str]) -> Path:
        """Where the table of ``texts`` is."""
        name = hashlib.sha256(f"{made_by} {json.dumps(list(texts))}".encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"


def _read(path: Path, rows: int) -> Tensor | None:
    try:
        with open_safetensors(path) as file:
            table: Tensor = file.get_tensor("embeddings")
            check = (file.metadata() or {}).get("check")
    except WeightError:
        check = None
    if check is None or len(table) != rows or check != _checksum(table):
        _LOG.warning("%s: damaged table of text embeddings, computed again", path)
        return None
    return table


def _checksum(table: Tensor) -> str:
    return hashlib.blake2b(table.view(torch.uint8).numpy().tobytes(), digest_size=16).hexdigest()
