"""A table of boards as CSV, JSON, Markdown and LaTeX. Texts are untrusted: each format escapes its own."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

from refkit.leaderboard.board.boards import BoardTable, Cell, Row

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
_HEAD = (
    "method",
    "status",
    "setting",
    "visual",
    "language",
    "pretraining",
    "parameters_m",
    "year",
    "protocol",
)


def facts(row: Row) -> dict[str, Any]:
    """What every format says about a row, besides its numbers."""
    entry = row.entry
    return {
        "method": entry.method if entry.variant is None else f"{entry.method} ({entry.variant})",
        "status": entry.status,
        "setting": entry.training.setting,
        "visual": entry.model.visual,
        "language": entry.model.language,
        "pretraining": entry.training.pretraining,
        "parameters_m": entry.model.parameters_m,
        "year": entry.paper.year,
        "protocol": row.protocol,
    }


def to_csv(table: BoardTable) -> str:
    """Percent (or points), with columns for the ends of the interval, rank and overlap.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    per_split = ("", " low", " high", " rank", " overlap images")
    writer.writerow([*_HEAD, *(f"{split}{part}" for split in table.splits for part in per_split)])
    for row in table.rows:
        numbers = [part for split in table.splits for part in _csv_cell(table, row.cells.get(split))]
        writer.writerow([*(_csv_text(value) for value in facts(row).values()), *numbers])
    return out.getvalue()


def to_json(table: BoardTable) -> str:
    """Full precision, as fractions."""
    rows = [
        {name: value for name, value in facts(row).items() if value is not None}
        | {"protocol_note": row.protocol_note, "sources": [source.model_dump() for source in row.sources]}
        | {"results": {split: _json_cell(cell) for split, cell in row.cells.items()}}
        for row in table.rows
    ]
    board = {
        "task": table.task,
        "dataset": table.dataset,
        "metric": table.metric,
        "setting_group": table.group,
    }
    return json.dumps({**board, "rows": rows}, indent=1, allow_nan=False) + "\n"


def to_markdown(table: BoardTable) -> str:
    """A pipe table; intervals in brackets, reported numbers in italics."""
    head = [
        "rank",
        "method",
        "setting",
        "visual",
        "protocol",
        *(f"{table.style.label} {s}" for s in table.splits),
    ]
    lines = [head, ["---"] * 5 + ["---:"] * len(table.splits)]
    for row in table.rows:
        known = facts(row)
        texts = [_markdown(known[name]) for name in ("method", "setting", "visual", "protocol")]
        numbers = [_plain_cell(table, row.cells.get(split)) for split in table.splits]
        if not row.entry.recomputable:
            numbers = [f"*{number}*" if number else "" for number in numbers]
        lines.append([_rank(row, table), *texts, *numbers])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_latex(table: BoardTable) -> str:
    """A ``tabular`` for the packages booktabs and xcolor; reported rows grey."""
    head = ["", "Method", "Setting", "Visual", "Protocol", *table.splits]
    lines = [f"% {_latex(table.style.label)} on {_latex(table.dataset)}, {_latex(table.group)}"]
    lines += [
        rf"\begin{{tabular}}{{rllll{'r' * len(table.splits)}}}",
        r"\toprule",
        _latex_line(map(_latex, head)),
    ]
    lines.append(r"\midrule")
    for row in table.rows:
        known = facts(row)
        cells = [
            _rank(row, table),
            *(_latex(known[name]) for name in ("method", "setting", "visual", "protocol")),
        ]
        cells += [_plain_cell(table, row.cells.get(split)).replace("[", "{[}") for split in table.splits]
        if not row.entry.recomputable:
            cells = [rf"\textcolor{{gray}}{{{cell}}}" if cell else "" for cell in cells]
        lines.append(_latex_line(cells))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


FORMATS: dict[str, Callable[[BoardTable], str]] = {
    "csv": to_csv,
    "json": to_json,
    "md": to_markdown,
    "tex": to_latex,
}
"""By the ending of the file."""


def _csv_text(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return "" if value is None else value


def _csv_cell(table: BoardTable, cell: Cell | None) -> list[Any]:
    if cell is None:
        return [""] * 5
    low, high = (table.style.text(end) for end in cell.interval) if cell.interval else ("", "")
    images = "" if cell.overlap.images is None else cell.overlap.images
    return [table.style.text(cell.value), low, high, cell.rank or "", images]


def _json_cell(cell: Cell) -> dict[str, Any]:
    fields = {
        "value": cell.value,
        "interval": cell.interval,
        "rank": cell.rank,
        "records_digest": cell.result.records_digest,
        "overlap": cell.overlap.model_dump(exclude_none=True),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _plain_cell(table: BoardTable, cell: Cell | None) -> str:
    if cell is None:
        return ""
    text = table.style.text(cell.value)
    if cell.interval is None:
        return text
    low, high = (f"{end * table.style.scale:.1f}" for end in cell.interval)
    return f"{text} [{low}, {high}]"


def _rank(row: Row, table: BoardTable) -> str:
    cell = row.cells.get(table.splits[0])
    return str(cell.rank) if cell is not None and cell.rank else ""


def _markdown(value: Any) -> str:
    return "" if value is None else re.sub(r"([\\`*_{}\[\]<>|#!~$&])", r"\\\1", str(value))


def _latex(value: Any) -> str:
    return "" if value is None else "".join(_LATEX.get(character, character) for character in str(value))


def _latex_line(cells: Any) -> str:
    return " & ".join(cells) + r" \\"
