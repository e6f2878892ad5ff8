"""Going through a records file line by line: what it holds, checked as a whole when the end is reached."""

from __future__ import annotations

import difflib
import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from refkit.data.digest import RecordDigests
from refkit.data.files import is_gzip
from refkit.data.schema import Header, Record, RecordError
from refkit.data.validation import parse_header, parse_line, parse_record

LONGEST_LINE = 64 << 20
"""Bytes of one line: a few kilobytes of gzip can stand for a line that fills the memory."""

_MARKS = {b"\xef\xbb\xbf": "UTF-8 with a byte order mark (BOM)", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def iter_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, int, bytes]]:
    """The lines of a plain or gzip file (told apart by content), without their line feeds.

    Yields:
        ``(line number from 1, offset of its first byte in the unpacked text, bytes)``.

    Raises:
        RecordError: no such file, a folder, an empty file, a byte order mark, a broken gzip stream, a line
            longer than `LONGEST_LINE`.
    """
    _check_file(Path(path))
    offset, number = 0, 0
    with gzip.open(path, "rb") if is_gzip(path) else Path(path).open("rb") as file:
        try:
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise RecordError(
                        f"longer than {LONGEST_LINE:,} bytes", path=os.fspath(path), line=number
                    )
                if number == 1:
                    _check_start(path, line)
                yield number, offset, line.rstrip(b"\r\n")
                offset += len(line)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            reason = f"the gzip stream is cut off or damaged ({error}); copy or make the file again"
            raise RecordError(reason, path=os.fspath(path), line=number + 1) from None
    if number == 0:
        raise RecordError("the file is empty, expected a header line and records", path=os.fspath(path))


class RecordScan:
    """One validating pass over a file.

    Iterating yields ``(line number, offset, record)`` and ends with the checks that need the whole file: ids
    that stand twice, and the header's counts and digests. After that `header` carries the counts and digests
    found, also where the file states none.

    Attributes:
        header: first line of the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._lines = iter_lines(path)
        _, _, first = next(self._lines)
        try:
            self.header: Header = parse_header(parse_line(first))
        except RecordError as error:
            raise error.at(self.path, 1) from None

    def __iter__(self) -> Iterator[tuple[int, int, Record]]:
        seen: dict[str, int] = {}
        images: set[str] = set()
        digests = RecordDigests()
        for number, offset, line in self._lines:
            try:
                record = parse_record(parse_line(line))
                check_unique(record.id, number, seen)
            except RecordError as error:
                raise error.at(self.path, number) from None
            images.add(record.image.file)
            digests.add(record)
            yield number, offset, record
        self._finish(len(seen), len(images), digests)

    def _finish(self, records: int, images: int, digests: RecordDigests) -> None:
        digest, digest_masks = digests.finish()
        found: dict[str, int | str] = {
            "records": records,
            "images": images,
            "digest": digest,
            "digest_masks": digest_masks,
        }
        for field, value in found.items():
            reason = header_fault(self.header, field, value)
            if reason:
                raise RecordError(reason, field, self.path, 1)
            setattr(self.header, field, value)


def check_unique(identity: str, line: int, seen: dict[str, int]) -> None:
    """Remember an id and its line.

    Raises:
        RecordError: the id was there before.
    """
    first = seen.setdefault(identity, line)
    if first != line:
        raise RecordError(
            f"{identity!r} stands on line {first} already; every record needs an id of its own", "id"
        )


def header_fault(header: Header, field: str, found: int | str) -> str | None:
    """Why a count or digest of the header disagrees with the records; None when it agrees or is absent."""
    stated = getattr(header, field)
    if not stated or stated == found:
        return None
    if isinstance(found, int):
        return (
            f"the header says {stated:,}, the file holds {found:,}; is the file complete? "
            "Otherwise correct the header"
        )
    return (
        f"the header says {stated[:19]}…, the records give {found[:19]}…: they were changed after the file "
        f"was written. Take the original, or drop {field!r} from the header if the change is meant"
    )


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise RecordError("is a folder, expected a records file (.jsonl or .jsonl.gz)", path=str(path))
    if path.exists():
        return
    beside = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1)
    hint = f"; did you mean {path.parent / near[0]}?" if near else ""
    raise RecordError(f"no such file{hint}", path=str(path))


def _check_start(path: str | os.PathLike[str], line: bytes) -> None:
    for mark, name in _MARKS.items():
        if line.startswith(mark):
            reason = f"the file is {name}; save it as plain UTF-8"
            raise RecordError(reason, path=os.fspath(path), line=1)
    if line.startswith(b"version https://git-lfs"):
        reason = "this is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"
        raise RecordError(reason, path=os.fspath(path), line=1)
