"""Codes of pictures on disk: the visual tokenizer runs once per view instead of once per epoch.

An entry is found by a digest of everything its codes depend on: the tokenizer's weights and precision, and
the bytes of the canvas that it would look at. The canvas is the picture *and* its geometry (crop, scale,
padding), so nothing has to be known about how it came about, and no other view can be mistaken for it. That
pays where the view of a picture is the same every time (a pipeline of `Letterbox` alone: one entry for all
sentences about a picture); with random crops or colours hardly any view comes twice, and every one of them
costs an entry of 2.3 kB (576 patches): leave the cache off there.

Entries are single files, written under a temporary name and renamed, so any number of workers, processes and
machines may share a folder: two that compute the same entry write the same bytes. An entry that cannot be
right (cut short, damaged, of another length) is counted, computed again and replaced.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from refkit.backbones.vqkd import VQKD
from refkit.data.files import atomic_write

_LOG = logging.getLogger(__name__)
_CHECK_BYTES = 16
_STORED = np.dtype("<u4")


@dataclass(slots=True)
class CacheCounts:
    """What became of the pictures that codes were asked for.

    Attributes:
        hits: codes came from disk.
        misses: there was no entry.
        corrupt: there was one, and it was damaged.
    """

    hits: int = 0
    misses: int = 0
    corrupt: int = 0


class CachedCodes:
    """A `VQKD` that looks on disk first.

    Args:
        tokenizer: computes what is not there.
        folder: of the entries; made if missing. One folder may serve several tokenizers.

    Attributes:
        counts: since this object was made, in this process.
    """

    def __init__(self, tokenizer: VQKD, folder: str | Path) -> None:
        self.tokenizer = tokenizer
        self.folder = Path(folder).expanduser()
        self.counts = CacheCounts()

    def __call__(self, pixels: Tensor) -> Tensor:
        """As `VQKD.codes`, which is asked for what is missing only, each different view once."""
        names = self.names(pixels)
        length = (pixels.shape[-2] // self._patch) * (pixels.shape[-1] // self._patch)
        found = {name: self._read(name, length) for name in dict.fromkeys(names)}
        missing = [name for name, codes in found.items() if codes is None]
        if missing:
            rows = torch.tensor([names.index(name) for name in missing], device=pixels.device)
            for name, codes in zip(missing, self.tokenizer.codes(pixels[rows]).cpu().numpy(), strict=True):
                self._write(name, codes)
                found[name] = codes
        stacked = np.stack([np.asarray(found[name], np.int64) for name in names])
        return torch.from_numpy(stacked).to(pixels.device)

    def names(self, pixels: Tensor) -> list[str]:
        """Name of the entry of every picture ``(B, 3, H, W)``, exact for pixels that were bytes once."""
        made_by = f"{self.tokenizer.digest()} {tuple(pixels.shape[1:])}".encode()
        canvases = (pixels * 255).round().to(torch.uint8).cpu().contiguous().numpy()
        return [hashlib.sha256(made_by + canvas.tobytes()).hexdigest() for canvas in canvases]

    @property
    def _patch(self) -> int:
        return self.tokenizer.size.patch_size

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / f"{name}.codes"

    def _read(self, name: str, length: int) -> np.ndarray | None:
        try:
            content = self._path(name).read_bytes()
        except FileNotFoundError:
            self.counts.misses += 1
            return None
        body, check = content[:-_CHECK_BYTES], content[-_CHECK_BYTES:]
        codes = np.frombuffer(body, _STORED) if len(body) == length * _STORED.itemsize else None
        if codes is None or check != _checksum(name, body) or codes.max() >= self.tokenizer.size.codes:
            self.counts.corrupt += 1
            _LOG.warning("%s: damaged entry of the code cache, computed again", self._path(name))
            return None
        self.counts.hits += 1
        return codes

    def _write(self, name: str, codes: np.ndarray) -> None:
        body = codes.astype(_STORED).tobytes()
        atomic_write(self._path(name), body + _checksum(name, body))


def _checksum(name: str, body: bytes) -> bytes:
    """Of an entry under its name: one that was copied to another name is damaged, too."""
    return hashlib.blake2b(name.encode() + body, digest_size=_CHECK_BYTES).digest()
