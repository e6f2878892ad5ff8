"""`refkit.records/1`: the one on-disk format for annotations. JSON Lines, validated, streamed.

The first line is a header, then one record per expression (tasks with text input) or region (tasks with text
output). See ``docs/pages/records.md`` for the format in prose. Nothing here imports torch.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from refkit.data.digest import RecordDigests, digest, digest_masks
from refkit.data.files import atomic_open
from refkit.data.record_file import RecordFile
from refkit.data.record_scan import RecordScan, check_unique
from refkit.data.schema import FORMAT, Header, ImageRef, Record, RecordError, Target, dump_line
from refkit.data.validation import parse_header, parse_line, parse_record

__all__ = [
    "FORMAT",
    "Header",
    "ImageRef",
    "Record",
    "RecordError",
    "RecordFile",
    "Target",
    "digest",
    "digest_masks",
    "iter_records",
    "read_header",
    "read_records",
    "write_records",
]


def read_header(path: str | os.PathLike[str]) -> Header:
    """The header as it stands in the file; counts and digests are what it states, not checked.

    Raises:
        RecordError: no such file, or its first line is no header.
    """
    return RecordScan(path).header


def iter_records(path: str | os.PathLike[str]) -> Iterator[Record]:
    """The records of a ``.jsonl`` or ``.jsonl.gz`` file, one at a time.

    Raises:
        RecordError: at the first line that is wrong; at the end when counts or digests disagree with the
            header.
    """
    for _, _, record in RecordScan(path):
        yield record


def read_records(path: str | os.PathLike[str]) -> tuple[Header, list[Record]]:
    """A whole file in memory, verified; the header carries counts and digests even if the file states none.

    Raises:
        RecordError: as for `iter_records`.
    """
    scan = RecordScan(path)
    records = [record for _, _, record in scan]
    return scan.header, records


def write_records(path: str | os.PathLike[str], header: Header, records: Iterable[Record]) -> Header:
    """Write a file in one step; it appears under its name once it is complete.

    Records are streamed: memory does not grow with their number except for their ids. Equal records give
    equal bytes, compressed or not.

    Args:
        path: a name that ends in ``.gz`` is compressed.
        header: its counts and digests are replaced by those of the records.
        records: checked as on reading, so that what is written can be read.

    Returns:
        The header as written.

    Raises:
        RecordError: a record is not valid; the message carries its position (1 = first record) and id.
    """
    with tempfile.TemporaryFile() as body:
        complete = _write_body(os.fspath(path), body, header, records)
        body.seek(0)
        with atomic_open(path, compress=Path(path).suffix == ".gz") as file:
            file.write(dump_line(complete.to_json()))
            while block := body.read(1 << 20):
                file.write(block)
    return complete


def _write_body(path: str, body: IO[bytes], header: Header, records: Iterable[Record]) -> Header:
    seen: dict[str, int] = {}
    images: set[str] = set()
    digests = RecordDigests()
    for line, record in enumerate(records, start=2):
        try:
            body.write(_checked_line(record))
            check_unique(record.id, line, seen)
        except RecordError as error:
            reason = f"{error.reason} (record {record.id!r}; nothing was written)"
            raise RecordError(reason, error.field, path, line) from None
        images.add(record.image.file)
        digests.add(record)
    plain, masks = digests.finish()
    complete = replace(header, records=len(seen), images=len(images), digest=plain, digest_masks=masks)
    try:
        parse_header(complete.to_json())
    except RecordError as error:
        raise error.at(path, 1) from None
    return complete


def _checked_line(record: Record) -> bytes:
    """The line of a record, read back before it is accepted."""
    try:
        line = dump_line(record.to_json())
    except (TypeError, ValueError) as error:
        raise RecordError(f"cannot be written as JSON: {error}") from None
    parse_record(parse_line(line))
    return line
