"""Random access to a records file of any size through a memory-mapped index of line offsets."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from tqdm import tqdm

from refkit.data.files import atomic_open, cache_dir, is_gzip
from refkit.data.names import image_owner
from refkit.data.record_scan import RecordScan, iter_lines
from refkit.data.schema import Header, Record, RecordError
from refkit.data.validation import parse_header, parse_line, parse_record

# Layout of the index, an ``(8 + n, 2)`` int64 array in NumPy's .npy format:
#   row 0: version, hash of the header line    row 1: size and mtime_ns of the file the user named
#   row 2: size of the plain text, 0           row 3: number of images, 0
#   rows 4-5: digest (32 bytes)                rows 6-7: digest_masks (32 bytes)
#   rows 8…: offset of a record's line, image key
_VERSION = 1
_STAMP = 3
_HEAD = 8
# Pages of the mapped text count as this process's memory once read, up to 64 KiB per record. Every so many
# records they are handed back (the system still caches them), which bounds a process for a file of any size.
_READS_PER_RELEASE = 4096


class RecordFile(Sequence[Record]):
    """The records of a file by position, without holding them in memory.

    The first opening reads and verifies the whole file and leaves an index (16 bytes per record) beside it as
    ``<file>.idx``, or in the cache folder where that folder cannot be written. Later openings check size,
    time and header and map the index. The text is mapped too, so that any number of worker processes share
    one copy. A gzip file is unpacked once into the cache folder. Objects can be pickled; the copy opens the
    file anew.

    Attributes:
        path: the file.
        header: its first line, counts and digests verified.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.header: Header
        self._open()

    def __len__(self) -> int:
        return len(self._index) - _HEAD

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        """One record, or the list of a slice.

        Raises:
            IndexError: no such position.
            RecordError: the line is not a record any more (the file was changed under the reader).
        """
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"{self.path} has {len(self)} records, asked for number {index}")
        self._release_pages()
        try:
            return parse_record(parse_line(self._line(int(self._index[position + _HEAD, 0]))))
        except RecordError as error:
            raise error.at(self.path, position + 2) from None

    def __iter__(self) -> Iterator[Record]:
        return (self[position] for position in range(len(self)))

    @property
    def image_keys(self) -> np.ndarray:
        """``(n,)`` int64, equal for records on the same picture, also across files; see `image_key`."""
        return self._index[_HEAD:, 1]

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "stamp": self._stamp}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._open()
        if self._stamp != state["stamp"]:
            raise RecordError("the file changed while the program runs; start it again", path=str(self.path))

    def _release_pages(self) -> None:
        self._reads += 1
        if self._reads % _READS_PER_RELEASE == 0 and hasattr(mmap, "MADV_DONTNEED"):
            self._text.madvise(mmap.MADV_DONTNEED)

    def _line(self, offset: int) -> bytes:
        end = self._text.find(b"\n", offset)
        return self._text[offset : end if end >= 0 else len(self._text)].rstrip(b"\r")

    def _open(self) -> None:
        text_path, places = _places(self.path)
        index = next(
            (found for place in places if (found := _load(place, self.path, text_path)) is not None), None
        )
        if index is None:
            index = _build(self.path, text_path, places)
        self._index = index
        self._reads = 0
        with text_path.open("rb") as file:
            self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_RANDOM"):
            self._text.madvise(mmap.MADV_RANDOM)
        self._stamp = tuple(int(value) for value in index[1])
        self.header = parse_header(parse_line(self._line(0)))
        # Found when the whole file was verified; it may state none of them.
        self.header.records, self.header.images = len(self), int(index[3, 0])
        self.header.digest, self.header.digest_masks = _digest_text(index[4:6]), _digest_text(index[6:8])


def image_key(header: Header, record: Record) -> int:
    """A 64-bit key of the picture: of (whose numbering, number), else of the file's name.

    Two records of any two files have one key exactly when they show one picture as far as numbers tell:
    RefCOCO and RefCOCOg share COCO's numbering, ReferItGame has its own.
    """
    image = record.image
    name = image.file.rsplit("/", 1)[-1] if image.id is None else f"#{image.id}"
    identity = f"{image_owner(header.dataset)}:{name}"
    return int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=8).digest(), "little", signed=True)


def _places(path: Path) -> tuple[Path, list[Path]]:
    """Where the plain text is, and where an index may be, best first."""
    if not path.is_file():
        RecordScan(path)  # says what is wrong with the name
    key = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    beside = path.with_name(path.name + ".idx")
    try:
        cached = cache_dir("records") / f"{key}-{path.name}"
    except OSError as error:
        if is_gzip(path):
            reason = f"cannot be unpacked for random access ({error}); set REFKIT_CACHE to a writable folder"
            raise RecordError(reason, path=str(path)) from None
        return path, [beside]
    if is_gzip(path):
        return cached.with_name(cached.name + ".text"), [cached.with_name(cached.name + ".idx")]
    return path, [beside, cached.with_name(cached.name + ".idx")]


def _load(place: Path, path: Path, text_path: Path) -> np.ndarray | None:
    """The index at a place if it belongs to the file as it is now."""
    if not place.is_file() or not text_path.is_file():
        return None
    try:
        index = np.load(place, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError):
        return None
    if index.dtype != np.int64 or index.ndim != 2 or index.shape[1:] != (2,) or len(index) < _HEAD:
        return None
    return index if np.array_equal(index[:_STAMP], _stamp(path, text_path)) else None


def _stamp(path: Path, text_path: Path) -> np.ndarray:
    """The first rows of the index: which content of the file it belongs to."""
    state = path.stat()
    with text_path.open("rb") as file:
        first = file.readline().rstrip(b"\r\n")
    hashed = int.from_bytes(hashlib.blake2b(first, digest_size=8).digest(), "little", signed=True)
    rows = [[_VERSION, hashed], [state.st_size, state.st_mtime_ns], [text_path.stat().st_size, 0]]
    return np.array(rows, np.int64)


def _digest_rows(digest: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(digest.removeprefix("sha256:")), np.int64).reshape(2, 2)


def _digest_text(rows: np.ndarray) -> str:
    return f"sha256:{rows.tobytes().hex()}"


def _build(path: Path, text_path: Path, places: list[Path]) -> np.ndarray:
    """Verify the whole file, write its index to the first place that takes it, and map it."""
    before = path.stat()
    if text_path != path:
        _unpack(path, text_path)
    scan = RecordScan(text_path)
    rows = _scan_rows(scan, text_path.stat().st_size)
    header = scan.header
    index = np.concatenate(
        (
            _stamp(path, text_path),
            np.array([[header.images, 0]], np.int64),
            _digest_rows(header.digest),
            _digest_rows(header.digest_masks),
            rows,
        )
    )
    after = path.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise RecordError("the file was written to while it was being indexed; try again", path=str(path))
    return _store(index, places)


def _scan_rows(scan: RecordScan, size: int) -> np.ndarray:
    """``(n, 2)`` int64: offset of the line and image key of every record."""
    rows = np.empty((1024, 2), np.int64)
    count = 0
    name = Path(scan.path).name
    with tqdm(total=size, unit="B", unit_scale=True, desc=f"index {name}", delay=1.0) as bar:
        for _, offset, record in scan:
            if count == len(rows):
                rows = np.concatenate((rows, np.empty_like(rows)))
            rows[count] = offset, image_key(scan.header, record)
            count += 1
            if count % 1024 == 0:
                bar.update(offset - bar.n)
        bar.update(size - bar.n)
    return rows[:count]


def _unpack(path: Path, text_path: Path) -> None:
    """The plain text of a gzip file; damage of the stream is reported here, of the records by the scan."""
    with atomic_open(text_path) as file:
        for _, _, line in iter_lines(path):
            file.write(line + b"\n")


def _store(index: np.ndarray, places: list[Path]) -> np.ndarray:
    for place in places:
        try:
            with atomic_open(place) as file:
                np.save(file, index)
        except OSError:
            continue
        return np.load(place, mmap_mode="r", allow_pickle=False)
    return index
