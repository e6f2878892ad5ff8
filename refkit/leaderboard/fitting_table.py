"""A table for a terminal whose numbers are never cut: what is too wide stands in several tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

LONGEST_WORD, LONGEST_NAME = 16, 22
"""Characters of a heading and of a name in a left column, beyond which they fold over lines."""
BORDER, FRAME = 3, 1
"""Characters that a column needs beside its text, and the table beside its columns."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        cells: one markup text per column.
        style: of the whole line.
        section: a rule stands above it.
    """

    cells: Sequence[str]
    style: str | None = None
    section: bool = False


@dataclass(frozen=True, slots=True)
class FittingTable:
    """Rows of names and numbers. Names fold over lines, numbers stay in one piece.

    Attributes:
        title: stands above the first table.
        headings: one markup text per column.
        rows: lines with as many cells.
        fixed: so many columns from the left name the row and are repeated in every table.
        left: so many columns from the left are aligned to the left.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Row]
    fixed: int = 1
    left: int = 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As many tables as the width of the terminal asks for."""
        for number, columns in enumerate(self._blocks(options.max_width)):
            yield self._table(columns, options.max_width, "" if number else self.title)

    def _blocks(self, width: int) -> Iterator[list[int]]:
        """The columns of each table: as many as fit, at least one beside the fixed ones."""
        names = list(range(self.fixed))
        room = width - FRAME - sum(self._narrow(column) + BORDER for column in names)
        block: list[int] = []
        left = room
        for column in range(self.fixed, len(self.headings)):
            needed = self._narrow(column) + BORDER
            if block and needed > left:
                yield names + block
                block, left = [], room
            block.append(column)
            left -= needed
        yield names + block

    def _table(self, columns: Sequence[int], width: int, title: str) -> Table:
        roomy = sum(self._wide(column) + BORDER for column in columns) + FRAME <= width
        table = Table(title=title or None, title_justify="left")
        for column in columns:
            table.add_column(
                self.headings[column],
                justify="left" if column < self.left else "right",
                overflow="fold",
                width=None if roomy else self._narrow(column),
            )
        for row in self.rows:
            if row.section:
                table.add_section()
            table.add_row(*(row.cells[column] for column in columns), style=row.style)
        return table

    def _widest_cell(self, column: int) -> int:
        return max((_length(row.cells[column]) for row in self.rows), default=0)

    def _wide(self, column: int) -> int:
        return max(self._widest_cell(column), _length(self.headings[column]))

    def _narrow(self, column: int) -> int:
        """The width below which a number or a word would break."""
        cell = self._widest_cell(column)
        words = Text.from_markup(self.headings[column]).plain.split()
        word = max(map(_plain_length, words), default=0)
        return max(min(cell, LONGEST_NAME) if column < self.left else cell, min(word, LONGEST_WORD))


def _length(markup: str) -> int:
    return Text.from_markup(markup).cell_len


def _plain_length(word: str) -> int:
    return Text(word).cell_len
