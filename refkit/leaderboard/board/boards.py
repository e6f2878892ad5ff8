"""Entries → tables of boards. A board is (task, records, metric, setting group); a table has one per split.

Only `reproduced` and `verified` numbers are ranked, and only among equal protocol and records digest.
`reported` numbers stand on the same board in the order of their value, without a rank.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from refkit.leaderboard.board.metrics import MetricStyle, in_order, metric_style
from refkit.leaderboard.entries.files import Located
from refkit.leaderboard.entries.schema import Entry, Overlap, ResultEntry, Source

_SPLITS = ("train", "val", "test", "testA", "testB", "testC")
NOT_STATED = "not stated"


@dataclass(slots=True)
class Cell:
    """One number on a board.

    Attributes:
        value: full precision.
        interval: 95 %, None for reported numbers.
        result: where it stands.
        overlap: of this set with the training data.
        rank: among equal protocol and digest, equal values share one; None for reported numbers.
        above_reproduced: a reported number above a reproduced one that saw no evaluation image: no proof of
            being better, and marked as such.
    """

    value: float
    interval: tuple[float, float] | None
    result: ResultEntry
    overlap: Overlap
    rank: int | None = None
    above_reproduced: bool = False


@dataclass(slots=True)
class Row:
    """What one entry says under one protocol, from tables that do not contradict each other.

    Attributes:
        located: the entry.
        protocol: id, `NOT_STATED`, or ``no id`` where words describe what no protocol does.
        protocol_note: those words.
        sources: the tables of reported numbers.
        cells: by split.
        contradicted: another table prints other numbers for the same model.
    """

    located: Located
    protocol: str
    protocol_note: str
    sources: list[Source]
    cells: dict[str, Cell]
    contradicted: bool = False

    @property
    def entry(self) -> Entry:
        """What the file says."""
        return self.located.entry


@dataclass(slots=True)
class BoardTable:
    """The boards of one metric and setting group, a column per split.

    Attributes:
        group: the setting group.
        metric: name of the metric.
        splits: columns.
        rows: sorted by the first split, best first.
    """

    task: str
    dataset: str
    metric: str
    group: str
    splits: list[str]
    rows: list[Row] = field(default_factory=list)

    @property
    def style(self) -> MetricStyle:
        """How the metric is written."""
        return metric_style(self.metric)

    @property
    def name(self) -> str:
        """Unique within a leaderboard, fit for a file name."""
        return f"{self.dataset}.{self.metric}.{self.group}"

    def leader(self, ranked: bool) -> Row | None:
        """The highest number on the first split among the ranked rows, or among the reported ones."""
        split = self.splits[0]
        rows = [row for row in self.rows if split in row.cells and row.entry.recomputable == ranked]
        return max(rows, key=lambda row: row.cells[split].value, default=None)


@dataclass(slots=True)
class Page:
    """All tables of one task and data set; the most important metric first."""

    task: str
    dataset: str
    tables: list[BoardTable]


def build_pages(entries: Iterable[Located]) -> list[Page]:
    """Every page of a leaderboard, sorted by task and data set."""
    by_page: dict[tuple[str, str], list[Located]] = defaultdict(list)
    for located in entries:
        for dataset in sorted({result.dataset for result in located.entry.results}):
            by_page[located.entry.task, dataset].append(located)
    return [Page(*key, _tables(*key, found)) for key, found in sorted(by_page.items())]


def _tables(task: str, dataset: str, entries: Sequence[Located]) -> list[BoardTable]:
    results = [result for located in entries for result in located.entry.results if result.dataset == dataset]
    tables = []
    for metric in in_order(name for result in results for name in result.metrics):
        for group in sorted({located.entry.setting_group for located in entries}):
            rows = [
                row
                for located in entries
                if located.entry.setting_group == group
                for row in _rows(located, dataset, metric)
            ]
            if rows:
                tables.append(_table(task, dataset, metric, group, rows))
    return tables


def _table(task: str, dataset: str, metric: str, group: str, rows: list[Row]) -> BoardTable:
    splits = sorted({split for row in rows for split in row.cells}, key=_split_order)
    for split in splits:
        column = [(row.entry, row.cells[split]) for row in rows if split in row.cells]
        _rank([cell for entry, cell in column if entry.recomputable])
        _mark_reported(column)
    rows.sort(key=lambda row: (*_sort_key(row, splits), row.entry.method, row.located.name))
    return BoardTable(task, dataset, metric, group, splits, rows)


def _split_order(split: str) -> tuple[int, str]:
    return (_SPLITS.index(split) if split in _SPLITS else len(_SPLITS), split)


def _sort_key(row: Row, splits: Sequence[str]) -> tuple[float, ...]:
    return tuple(-row.cells[split].value if split in row.cells else 1e18 for split in splits)


def _rows(located: Located, dataset: str, metric: str) -> list[Row]:
    """Results of one protocol and one source table make a row; tables that agree share it."""
    rows: dict[tuple[str, str, str], Row] = {}
    for result in located.entry.results:
        if result.dataset != dataset or metric not in result.metrics:
            continue
        protocol = result.protocol or ("no id" if result.protocol_note else NOT_STATED)
        source = result.source
        table = f"{source.work} {source.table} {source.row}" if source else result.records_digest or ""
        key = (protocol, result.protocol_note or "", table if source else "")
        row = rows.setdefault(key, Row(located, *key[:2], [source] if source else [], {}))
        overlap = located.entry.overlap_of(result)
        row.cells[result.split] = Cell(result.metrics[metric], result.interval(metric), result, overlap)
    return _merged(list(rows.values()))


def _merged(rows: list[Row]) -> list[Row]:
    kept: list[Row] = []
    for row in rows:
        same = [
            other
            for other in kept
            if (other.protocol, other.protocol_note) == (row.protocol, row.protocol_note)
        ]
        agreeing = next((other for other in same if _agree(other, row)), None)
        if agreeing is None:
            for other in same:
                other.contradicted = row.contradicted = True
            kept.append(row)
            continue
        agreeing.cells = row.cells | agreeing.cells
        agreeing.sources += [source for source in row.sources if source not in agreeing.sources]
    return kept


def _agree(one: Row, other: Row) -> bool:
    shared = one.cells.keys() & other.cells.keys()
    return all(one.cells[split].value == other.cells[split].value for split in shared)


def _rank(cells: Iterable[Cell]) -> None:
    """1, 2, 2, 4 among equal protocol and digest."""
    comparable: dict[tuple[str | None, str | None], list[Cell]] = defaultdict(list)
    for cell in cells:
        comparable[cell.result.protocol, cell.result.records_digest].append(cell)
    for rivals in comparable.values():
        for cell in rivals:
            cell.rank = 1 + sum(rival.value > cell.value for rival in rivals)


def _mark_reported(column: Sequence[tuple[Entry, Cell]]) -> None:
    clean = [cell.value for entry, cell in column if entry.recomputable and cell.overlap.images == 0]
    for entry, cell in column:
        cell.above_reproduced = not entry.recomputable and any(cell.value > value for value in clean)
