"""Digests that tell whether two files hold the same ground truth, whatever their order or compression."""

from __future__ import annotations

import hashlib
import heapq
import json
import tempfile
import unicodedata
from collections.abc import Iterable
from typing import IO, Any

from refkit.data.schema import Record

# Lines kept in memory before a sorted run goes to disk: bounds memory near 50 MB for any number of records.
_RUN = 200_000


class SortedDigest:
    """SHA-256 over lines in sorted order, for any number of lines in bounded memory (external merge sort)."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._runs: list[IO[bytes]] = []

    def add(self, line: bytes) -> None:
        """Take one line; it must not contain a line feed."""
        self._lines.append(line + b"\n")
        if len(self._lines) >= _RUN:
            self._spill()

    def finish(self) -> str:
        """``sha256:<hex>`` of everything added; the object is used up."""
        self._lines.sort()
        hasher = hashlib.sha256()
        for line in heapq.merge(*self._runs, self._lines):
            hasher.update(line)
        for run in self._runs:
            run.close()
        return f"sha256:{hasher.hexdigest()}"

    def _spill(self) -> None:
        self._lines.sort()
        run = tempfile.TemporaryFile()  # noqa: SIM115 - closed by finish()
        run.writelines(self._lines)
        run.seek(0)
        self._runs.append(run)
        self._lines = []


class RecordDigests:
    """Both digests of a records file in one pass."""

    def __init__(self) -> None:
        self._plain = SortedDigest()
        self._masks = SortedDigest()

    def add(self, record: Record) -> None:
        """Take one record."""
        fields = _canonical_fields(record)
        self._plain.add(_line(fields))
        self._masks.add(
            _line([*fields, [target.mask and target.mask["counts"] for target in record.targets]])
        )

    def finish(self) -> tuple[str, str]:
        """``(digest, digest_masks)``; the object is used up."""
        return self._plain.finish(), self._masks.finish()


def digest(records: Iterable[Record]) -> str:
    """SHA-256 over sorted canonical lines of ``(id, file, width, height, NFC text, boxes at two decimals)``.

    Checked by the box, caption and label protocols (evaluation spec 3.1). Independent of the order of
    records, of key order, of compression and of any other field.
    """
    sorter = SortedDigest()
    for record in records:
        sorter.add(_line(_canonical_fields(record)))
    return sorter.finish()


def digest_masks(records: Iterable[Record]) -> str:
    """`digest` with the RLE text of every target beside its box; checked by the mask protocols."""
    both = RecordDigests()
    for record in records:
        both.add(record)
    return both.finish()[1]


def _canonical_fields(record: Record) -> list[Any]:
    image = record.image
    text = None if record.text is None else unicodedata.normalize("NFC", record.text)
    boxes = [target.box and [_two_decimals(value) for value in target.box] for target in record.targets]
    return [record.id, image.file, image.width, image.height, text, boxes]


def _two_decimals(value: float) -> str:
    """Fixed point text, because ``0.1 + 0.2`` and ``0.3`` are one box; no negative zero."""
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text


def _line(fields: list[Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
