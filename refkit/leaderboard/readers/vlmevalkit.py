"""VLMEvalKit results: a table (``.tsv``, ``.csv``, ``.xlsx``) with ``index`` and ``prediction``."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import defusedxml.ElementTree as safe_xml

from refkit.leaderboard.readers.answers import Answer, AnswerError, Key, read_text
from refkit.leaderboard.readers.text import from_text

LARGEST_SHEET = 1 << 29
_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_TEXT_COLUMNS = ("expression", "question")


def read(path: Path) -> Iterator[Answer]:
    """Answers; the column ``index`` counts the questions from 0.

    Raises:
        AnswerError: no such columns, a row without index, or a file that is no table.
    """
    rows = _xlsx_rows(path) if path.suffix == ".xlsx" else _delimited_rows(path)
    head = next(rows, [])
    missing = {"index", "prediction"} - set(head)
    if missing:
        raise AnswerError(f"{path}: no column {' or '.join(sorted(missing))}; found {', '.join(head[:20])}")
    for number, cells in enumerate(rows, start=2):
        place = f"{path}: row {number}"
        row = dict(zip(head, cells, strict=False))
        yield from_text(row.get("prediction", ""), _key(row, place), place)


def _key(row: dict[str, str], place: str) -> Key:
    index = row.get("index", "")
    if not re.fullmatch(r"\d{1,12}(\.0)?", index):
        raise AnswerError(f"{place}: index: found {index[:40]!r}, expected a whole number")
    text = next((row[name] for name in _TEXT_COLUMNS if row.get(name)), None)
    identity = row.get("id") or row.get("question_id")
    digits = identity is not None and identity.isascii() and identity.isdigit()
    return Key(
        identity,
        int(identity) if digits and identity is not None else None,
        int(index.partition(".")[0]),
        row.get("image_id") or row.get("image_path") or None,
        text,
    )


def _delimited_rows(path: Path) -> Iterator[list[str]]:
    delimiter = "," if path.name.removesuffix(".gz").endswith(".csv") else "\t"
    try:
        yield from csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    except csv.Error as error:
        raise AnswerError(f"{path}: not usable as a table: {error}; drop columns of pictures") from None


def _xlsx_rows(path: Path) -> Iterator[list[str]]:
    """The first sheet; formulas count with their stored value."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            shared = _shared_texts(archive) if "xl/sharedStrings.xml" in names else []
            sheets = sorted(name for name in names if re.fullmatch(r"xl/worksheets/sheet\d+\.xml", name))
            if not sheets:
                raise AnswerError(f"{path}: no sheet in this file")
            for row in _member(archive, sheets[0]).iter(f"{_SHEET}row"):
                yield _cells(row, shared)
    except (zipfile.BadZipFile, safe_xml.ParseError, EOFError, KeyError, IndexError, ValueError) as error:
        if isinstance(error, AnswerError):
            raise
        raise AnswerError(f"{path}: not usable as a spreadsheet: {error}") from None


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    with archive.open(name) as file:
        data = file.read(LARGEST_SHEET + 1)
    if len(data) > LARGEST_SHEET:
        raise AnswerError(f"{archive.filename}: {name} unpacks to more than {LARGEST_SHEET:,} bytes")
    return safe_xml.fromstring(data)


def _shared_texts(archive: zipfile.ZipFile) -> list[str]:
    items = _member(archive, "xl/sharedStrings.xml").iter(f"{_SHEET}si")
    return ["".join(part.text or "" for part in item.iter(f"{_SHEET}t")) for item in items]


def _cells(row: Any, shared: list[str]) -> list[str]:
    """By column; empty cells are not stored."""
    values: dict[int, str] = {}
    for count, cell in enumerate(row.iter(f"{_SHEET}c")):
        letters = re.match(r"[A-Z]{1,3}", cell.get("r") or "")
        values[_column(letters[0]) if letters else count] = _value(cell, shared)
    return [values.get(column, "") for column in range(max(values, default=-1) + 1)]


def _value(cell: Any, shared: list[str]) -> str:
    if cell.get("t") == "inlineStr":
        return "".join(part.text or "" for part in cell.iter(f"{_SHEET}t"))
    stored = cell.find(f"{_SHEET}v")
    text = "" if stored is None else stored.text or ""
    return shared[int(text)] if cell.get("t") == "s" and text else text


def _column(letters: str) -> int:
    place = 0
    for letter in letters:
        place = 26 * place + ord(letter) - 64
    return place - 1
