"""Digests that tell whether two files hold the same ground truth, whatever their order or compression."""

from __future__ import annotations

import hashlib
import heapq
import json
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, Any

import orjson

from refkit.data.schema import Record

# Bytes of lines kept in memory before a sorted run goes to disk: bounds memory for any number of records.
_RUN_BYTES = 200_000_000
_HASHED_AT_ONCE = 4096
_NO_MASK = b"[null]"
_TAIL = re.compile(rb"\t[^\n]*")


class SortedLines:
    """Lines in sorted order, for any number of lines in bounded memory (external merge sort)."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self._runs: list[IO[bytes]] = []

    def add(self, line: bytes) -> None:
        """Take one line; it must not contain a line feed."""
        self._lines.append(line + b"\n")
        self._size += len(line)
        if self._size >= _RUN_BYTES:
            self._spill()

    def join(self, other: SortedLines) -> None:
        """Take all lines of another."""
        self._lines += other._lines
        self._runs += other._runs
        self._size += other._size

    def __getstate__(self) -> dict[str, Any]:
        """Another process gets the lines in their order, which leaves it only to merge them."""
        self._lines.sort()
        return self.__dict__

    def __iter__(self) -> Iterator[bytes]:
        """The lines with their line feeds; the object is used up."""
        self._lines.sort()
        yield from heapq.merge(*self._runs, self._lines) if self._runs else self._lines
        for run in self._runs:
            run.close()

    def _spill(self) -> None:
        self._lines.sort()
        run = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of __iter__
        run.writelines(self._lines)
        run.seek(0)
        self._runs.append(run)
        self._lines, self._size = [], 0


class RecordDigests:
    """Both digests of a records file in one pass.

    The line for masks continues the plain line, and no plain line begins another one, so that one sorted
    order serves both digests.
    """

    def __init__(self) -> None:
        self._lines = SortedLines()

    def add(self, record: Record) -> None:
        """Take one record."""
        targets = record.targets
        plain = len(targets) == 1 and not targets[0].mask
        masks = _NO_MASK if plain else _line([target.mask and target.mask["counts"] for target in targets])
        # neither a tab nor a line feed can stand in JSON of one line, so that `finish` may cut and join there
        self._lines.add(_line(_canonical_fields(record)) + b"\t" + masks)

    def join(self, other: RecordDigests) -> None:
        """Take all records of another."""
        self._lines.join(other._lines)

    def finish(self) -> tuple[str, str]:
        """``(digest, digest_masks)``; the object is used up."""
        plain_hash, masks_hash = hashlib.sha256(), hashlib.sha256()
        lines = iter(self._lines)
        while chunk := b"".join(islice(lines, _HASHED_AT_ONCE)):
            plain_hash.update(_TAIL.sub(b"", chunk))
            masks_hash.update(chunk.replace(b"]\t", b",").replace(b"]\n", b"]]\n"))
        return f"sha256:{plain_hash.hexdigest()}", f"sha256:{masks_hash.hexdigest()}"


def digest(records: Iterable[Record]) -> str:
    """SHA-256 over sorted canonical lines of ``(id, file, width, height, NFC text, boxes at two decimals)``.

    Checked by the box, caption and label protocols (evaluation spec 3.1). Independent of the order of
    records, of key order, of compression and of any other field.
    """
    both = RecordDigests()
    for record in records:
        both.add(record)
    return both.finish()[0]


def digest_masks(records: Iterable[Record]) -> str:
    """`digest` with the RLE text of every target beside its box; checked by the mask protocols."""
    both = RecordDigests()
    for record in records:
        both.add(record)
    return both.finish()[1]


def _canonical_fields(record: Record) -> list[Any]:
    image, text = record.image, record.text
    if text is not None and not text.isascii():
        text = unicodedata.normalize("NFC", text)
    boxes = [target.box and _two_decimals(target.box) for target in record.targets]
    return [record.id, image.file, image.width, image.height, text, boxes]


def _two_decimals(box: tuple[float, float, float, float]) -> list[str]:
    """Fixed point text, because ``0.1 + 0.2`` and ``0.3`` are one box; no negative zero."""
    written = "{:.2f} {:.2f} {:.2f} {:.2f}".format(*box)
    parts = written.split(" ")
    return ["0.00" if part == "-0.00" else part for part in parts] if "-0.00" in written else parts


def _line(fields: list[Any]) -> bytes:
    try:
        return orjson.dumps(fields)
    except orjson.JSONEncodeError:  # an integer beyond 64 bits, or half of a surrogate pair
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
