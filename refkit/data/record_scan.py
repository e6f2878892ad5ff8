"""Going through a records file line by line: what it holds, checked as a whole when the end is reached."""

from __future__ import annotations

import difflib
import gzip
import math
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


def iter_lines(
    path: str | os.PathLike[str], span: tuple[int, int] | None = None
) -> Iterator[tuple[int, int, bytes]]:
    """The lines of a plain or gzip file (told apart by content), without their line feeds.

    Args:
        path: the file.
        span: only the lines that begin at these bytes, the second excluded; of a plain file.

    Yields:
        ``(line number from 1, offset of its first byte in the unpacked text, bytes)``; with a span the
        number counts from there.

    Raises:
        RecordError: no such file, a folder, an empty file, a byte order mark, a broken gzip stream, a line
            longer than `LONGEST_LINE`.
    """
    _check_file(Path(path))
    (offset, stop), number = span or (0, math.inf), 0
    with gzip.open(path, "rb") if is_gzip(path) else Path(path).open("rb") as file:
        try:
            if offset:  # to the end of the line that holds the byte before
                file.seek(offset - 1)
                offset += len(file.readline(LONGEST_LINE + 1)) - 1
            while offset < stop and (line := file.readline(LONGEST_LINE + 1)):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise RecordError(
                        f"longer than {LONGEST_LINE:,} bytes", path=os.fspath(path), line=number
                    )
                if not offset:
                    _check_start(path, line)
                yield number, offset, line.rstrip(b"\r\n")
                offset += len(line)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            reason = f"the gzip stream is cut off or damaged ({error}); copy or make the file again"
            raise RecordError(reason, path=os.fspath(path), line=number + 1) from None
    if not offset:
        raise RecordError("the file is empty, expected a header line and records", path=os.fspath(path))


class Tally:
    """What the checks of a whole file need to know of its records.

    Attributes:
        lines: line number of each id.
        images: file names of the pictures.
        digests: of the records.
    """

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.images: set[str] = set()
        self.digests = RecordDigests()

    def add(self, record: Record, line: int) -> None:
        """Take the next record.

        Raises:
            RecordError: its id was there before.
        """
        check_unique(record.id, line, self.lines)
        self.images.add(record.image.file)
        self.digests.add(record)

    def join(self, other: Tally) -> None:
        """Take the records of another part of the file.

        Raises:
            RecordError: an id stands in both.
        """
        double = min(self.lines.keys() & other.lines.keys(), default=None)
        if double is not None:
            raise RecordError(f"{double!r} stands twice; every record needs an id of its own", "id")
        self.lines |= other.lines
        self.images |= other.images
        self.digests.join(other.digests)


class RecordScan:
    """One validating pass over a file.

    Iterating yields ``(line number, offset, record)`` and ends with the checks that need the whole file: ids
    that stand twice, and the header's counts and digests. After that `header` carries the counts and digests
    found, also where the file states none.

    Attributes:
        header: first line of the file.
        tally: of the records met so far.
    """

    def __init__(self, path: str | os.PathLike[str], span: tuple[int, int] | None = None) -> None:
        """Read the header.

        Args:
            path: the file.
            span: only the records whose lines begin at these bytes, the second excluded, of a plain file;
                the checks of the whole file are left to `finish`.
        """
        self.path = os.fspath(path)
        lines = iter_lines(path, span and (0, span[1]))
        _, _, first = next(lines)
        try:
            self.header: Header = parse_header(parse_line(first))
        except RecordError as error:
            raise error.at(self.path, 1) from None
        self.tally = Tally()
        self._lines = iter_lines(path, span) if span and span[0] else lines
        self._whole = span is None

    def __iter__(self) -> Iterator[tuple[int, int, Record]]:
        for number, offset, line in self._lines:
            try:
                record = parse_record(parse_line(line))
                self.tally.add(record, number)
            except RecordError as error:
                raise error.at(self.path, number) from None
            yield number, offset, record
        if self._whole:
            self.finish()

    def finish(self) -> None:
        """Check the header against all records.

        Raises:
            RecordError: its counts or digests are not theirs.
        """
        digest, digest_masks = self.tally.digests.finish()
        found: dict[str, int | str] = {
            "records": len(self.tally.lines),
            "images": len(self.tally.images),
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
