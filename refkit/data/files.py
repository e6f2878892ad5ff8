"""Where files go and how they get there: atomic writing, the cache folder, the data root."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file in the folder of ``path`` that takes this name at the end of the block.

    If the block raises, the temporary file is removed and an older file of that name stays as it was. For
    libraries that write files by name; else see `atomic_open`.

    Args:
        path: the final name; missing folders are made.

    Yields:
        The temporary file, empty.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.name[:80]}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(_permissions(final))
        temporary.replace(final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_open(path: str | os.PathLike[str], compress: bool = False) -> Iterator[BinaryIO]:
    """Open a binary file that appears under its name only once it is complete.

    The bytes go to a temporary file, see `atomic_path`, which is flushed to disk before it is renamed.

    Args:
        path: the final name; missing folders are made.
        compress: gzip the bytes. No name and no time are stored, so equal content gives equal files.

    Yields:
        A writable binary file.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as raw:
        if compress:
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed:
                yield cast(BinaryIO, packed)
        else:
            yield raw
        raw.flush()
        os.fsync(raw.fileno())


def atomic_write(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Write text (as UTF-8) or bytes in one step; a name that ends in ``.gz`` is compressed.

    Returns:
        The path written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_open(path, compress=Path(path).suffix == ".gz") as file:
        file.write(data)
    return Path(path)


def _permissions(path: Path) -> int:
    """Of the file to be replaced, or what ``open`` would give a new one (mkstemp's 0600 would surprise)."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def is_gzip(path: str | os.PathLike[str]) -> bool:
    """Whether the content (not the name) is gzip."""
    with Path(path).open("rb") as file:
        return file.read(2) == GZIP_MAGIC


def cache_dir(*parts: str) -> Path:
    """The folder for things that can be made again: ``REFKIT_CACHE``, else ``XDG_CACHE_HOME/refkit``.

    Args:
        parts: sub-folders; they are made.
    """
    base = os.environ.get("REFKIT_CACHE")
    if base:
        root = Path(base).expanduser()
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "refkit"
    folder = root.joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def data_root(option: str | os.PathLike[str] | None = None) -> Path:
    """The folder that relative data paths start from: the option, else ``REFKIT_DATA``, else ``data``."""
    return Path(option or os.environ.get("REFKIT_DATA") or "data").expanduser()


def image_folder(
    stated: str,
    option: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Path:
    """Where the pictures of a records file are.

    Args:
        stated: ``image_root`` of the header, below the data root (an absolute path stays as it is).
        option: the folder itself, given by the user.
        root: the data root, given by the user; see `data_root`.
    """
    return Path(option).expanduser() if option else data_root(root) / stated
