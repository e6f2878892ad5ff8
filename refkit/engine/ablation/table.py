"""What a table config says: rows that differ in named settings, metrics, seeds and one budget for all."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from refkit.engine.config import RefkitConfig, load_config, set_key

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_ENTRIES = ("title", "config", "rows", "metrics", "seeds", "budget", "starts", "start")


class TableError(ValueError):
    """A table config, or a wish about it, that cannot be met; the message names file, entry and remedy."""


@dataclass(frozen=True)
class Metric:
    """A column of the table.

    Attributes:
        key: name of a validation metric, ``rec/acc50``.
        label: heading.
        percent: shown times 100.
    """

    key: str
    label: str
    percent: bool = False

    @property
    def scale(self) -> float:
        """What a value is multiplied with before it is shown."""
        return 100.0 if self.percent else 1.0

    @property
    def heading(self) -> str:
        """Label with the unit."""
        return f"{self.label} (%)" if self.percent else self.label


@dataclass(frozen=True)
class Row:
    """One row: a training config and what is changed in it.

    Attributes:
        name: short, fit for a folder and for ``--only``.
        label: as the table shows it.
        config: file or name of a training config.
        options: dotted key → value, applied to that config.
        start: name of the `Start` whose weights it begins with, None for those of its config.
    """

    name: str
    label: str
    config: str
    options: Mapping[str, Any] = field(default_factory=dict)
    start: str | None = None

    def load(self) -> RefkitConfig:
        """The training config with the row's changes.

        Raises:
            ConfigError: no such config, or an option that does not fit it.
        """
        config = load_config(self.config)
        for key, value in self.options.items():
            set_key(config, key, value)
        return config


@dataclass(frozen=True)
class Start:
    """A training whose weights rows begin with: one for each seed, shared by the rows that name it.

    Attributes:
        row: what is trained.
        times: its iterations are so many times those of a row.
    """

    row: Row
    times: int


@dataclass(frozen=True)
class Table:
    """A table config.

    Attributes:
        file: where it was read from.
        title: heading.
        rows: the first is what the others are compared with.
        metrics: columns; the first is drawn.
        seeds: how many; run ``i`` of every row has seed ``i``.
        iterations: of every run, or None where the budget is in seconds.
        seconds: of every run at most, or None where the budget is in iterations.
        starts: by name.
    """

    file: str
    title: str
    rows: tuple[Row, ...]
    metrics: tuple[Metric, ...]
    seeds: int
    iterations: int | None
    seconds: float | None
    starts: Mapping[str, Start] = field(default_factory=dict)

    def choose(self, names: Sequence[str] | None) -> list[Row]:
        """The rows of these names, in the order of the table; all without names.

        Raises:
            TableError: there is no such row; the nearest name is offered.
        """
        known = [row.name for row in self.rows]
        for name in names or ():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise TableError(f"{self.file}: no row {name!r} among {', '.join(known)}{hint}")
        return [row for row in self.rows if not names or row.name in names]


def read_table(path: str | Path) -> Table:
    """Read a table config: a Python file of literals and classes, as training configs are.

    Names that begin with an underscore are the file's own, for what several rows share.

    Args:
        path: file, or name relative to the ``configs`` folder (``refshapes/ablation/hivg``).

    Raises:
        TableError: an entry is missing, unknown, or of the wrong kind.
        ConfigError: the file is missing or broken.
    """
    config = load_config(path)
    entries, file = config.to_dict(), str(config.filename)
    unknown = [name for name in entries if name not in _ENTRIES and not name.startswith("_")]
    missing = [name for name in ("title", "rows", "metrics", "budget") if not entries.get(name)]
    if unknown or missing:
        told = f"unknown: {', '.join(unknown)}" if unknown else f"missing or empty: {', '.join(missing)}"
        raise TableError(f"{file}: a table has the entries {', '.join(_ENTRIES)}; {told}")
    starts = _read_starts(entries, file)
    rows = tuple(_read_row(row, entries, file) for row in entries["rows"])
    for row in rows:
        if row.start is not None and row.start not in starts:
            known = ", ".join(starts) or "there are none"
            raise TableError(f"{file}: row {row.name}: start={row.start!r} is none of the starts: {known}")
    metrics = tuple(_build(Metric, metric, file, "metrics") for metric in entries["metrics"])
    names = [*starts, *(row.name for row in rows)]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise TableError(f"{file}: rows, starts: more than one is called {', '.join(doubled)}")
    seeds = entries.get("seeds", 3)
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        raise TableError(f"{file}: seeds={seeds!r}: expected how many, at least 1")
    iterations, seconds = _read_budget(entries["budget"], file)
    return Table(file, str(entries["title"]), rows, metrics, seeds, iterations, seconds, starts)


def _read_starts(entries: Mapping[str, Any], file: str) -> dict[str, Start]:
    starts: dict[str, Start] = {}
    for entry in entries.get("starts") or ():
        given = dict(entry) if isinstance(entry, Mapping) else {}
        times = given.pop("times", None)
        row = _read_row({**given, "start": None}, entries, file)
        if not isinstance(times, int) or isinstance(times, bool) or times < 1 or row.name in starts:
            raise TableError(
                f"{file}: start {row.name}: needs a name of its own and times=N, its iterations as a "
                "multiple of a row's"
            )
        starts[row.name] = Start(row, times)
    return starts


def _read_row(entry: Any, common: Mapping[str, Any], file: str) -> Row:
    """A row from its dict; ``config`` and ``start`` of the table hold where the row says nothing."""
    given = dict(entry) if isinstance(entry, Mapping) else entry
    if isinstance(given, dict):
        given.setdefault("label", given.get("name"))
        given.setdefault("config", common.get("config"))
        given.setdefault("start", common.get("start"))
    row = _build(Row, given, file, "rows")
    if not isinstance(row.name, str) or not _NAME.fullmatch(row.name):
        raise TableError(
            f"{file}: rows: name={row.name!r}: it becomes a folder, use letters, digits, '-', '_' and '.'"
        )
    if not isinstance(row.config, str):
        raise TableError(
            f"{file}: row {row.name}: needs a config, here or as the entry 'config' of the table"
        )
    if not isinstance(row.options, Mapping):
        raise TableError(f"{file}: row {row.name}: options are a dict of dotted keys, got {row.options!r}")
    return row


def _build(kind: type[Row] | type[Metric], entry: Any, file: str, place: str) -> Any:
    """An instance of a dataclass from one dict of the table."""
    names = [part.name for part in fields(kind)]
    required = [name for name in names if name in ("name", "key", "label")]
    if not isinstance(entry, Mapping) or not set(required) <= entry.keys() <= set(names):
        raise TableError(
            f"{file}: {place}: expected dicts with {', '.join(required)} and no keys but "
            f"{', '.join(names)}; got {entry!r}"
        )
    return kind(**entry)


def _read_budget(budget: Any, file: str) -> tuple[int | None, float | None]:
    if isinstance(budget, Mapping) and len(budget) == 1:
        ((unit, amount),) = budget.items()
        number = isinstance(amount, int | float) and not isinstance(amount, bool) and amount > 0
        if unit == "iterations" and number and isinstance(amount, int):
            return amount, None
        if unit == "seconds" and number:
            return None, float(amount)
    raise TableError(
        f"{file}: budget={budget!r}: expected dict(iterations=N) or dict(seconds=S), of one run, the same "
        "for all rows"
    )
