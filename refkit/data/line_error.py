"""The error of a file of lines: it names file, line and field."""

from __future__ import annotations

import os
from typing import Self


class LineError(ValueError):
    """A line that cannot be used as it is: ``file:line: field: what is wrong and what was expected``.

    Attributes:
        reason: what is wrong and what was expected.
        field: the field inside the line, as in ``targets[0].box``; empty when the line as a whole is wrong.
        path: the file, empty when the content does not come from one.
        line: counted from 1 (the header), 0 when unknown.
    """

    def __init__(self, reason: str, field: str = "", path: str = "", line: int = 0) -> None:
        super().__init__(reason, field, path, line)
        self.reason = reason
        self.field = field
        self.path = path
        self.line = line

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return ": ".join(part for part in (place, self.field, self.reason) if part)

    def at(self, path: str | os.PathLike[str], line: int = 0) -> Self:
        """The same complaint with its place."""
        return type(self)(self.reason, self.field, os.fspath(path), line)
