"""From the runs of a table to its numbers: mean, spread over seeds, paired difference to the first row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refkit.engine.ablation.store import RunResult
from refkit.engine.ablation.table import Metric, Row, TableError

NOISE_RULE = (
    "A difference is taken seed by seed and followed by its standard error over seeds; below two standard "
    "errors it is called within noise. With three seeds this is a rule of thumb, not a 95 % test."
)


@dataclass(frozen=True)
class Difference:
    """A row minus the first row, paired by seed.

    Attributes:
        mean: over the seeds that both rows have.
        standard_error: of that mean, None for a single seed.
        seeds: how many.
    """

    mean: float
    standard_error: float | None
    seeds: int

    @property
    def verdict(self) -> str:
        """``within noise``, ``beyond noise``, or that one seed cannot tell."""
        if self.standard_error is None:
            return "one seed: noise unknown"
        beyond = self.mean != 0 and abs(self.mean) >= 2 * self.standard_error
        return "beyond noise" if beyond else "within noise"


@dataclass(frozen=True)
class Cell:
    """One metric of one row, as the table shows it (percent where the metric says so).

    Attributes:
        values: by seed.
        difference: to the first row; None for that row itself, or where no seed is shared with it.
    """

    values: Mapping[int, float]
    difference: Difference | None

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(np.mean(list(self.values.values())))

    @property
    def deviation(self) -> float | None:
        """Standard deviation of a single run (n - 1), None for one seed."""
        return _deviation(list(self.values.values()))


@dataclass(frozen=True)
class RowSummary:
    """One row of the table.

    Attributes:
        row: which.
        results: its finished runs.
        failed: its failed runs.
        cells: by metric key; empty without finished runs.
    """

    row: Row
    results: tuple[RunResult, ...]
    failed: tuple[RunResult, ...]
    cells: Mapping[str, Cell]

    @property
    def seconds(self) -> float:
        """Mean duration of a run."""
        return float(np.mean([result.seconds for result in self.results]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.row.name,
            "label": self.row.label,
            "config": self.row.config,
            "options": dict(self.row.options),
            "seeds": [result.seed for result in self.results],
            "seconds_per_run": self.seconds if self.results else None,
            "metrics": {key: _cell_dict(cell) for key, cell in self.cells.items()},
            "failed": [{"seed": result.seed, "reason": result.reason} for result in self.failed],
        }


def summarise(
    rows: Sequence[Row], metrics: Sequence[Metric], results: Sequence[RunResult]
) -> list[RowSummary]:
    """The numbers of every row, in the order of the rows.

    Raises:
        TableError: the runs have no such metric.
    """
    summaries: list[RowSummary] = []
    for row in rows:
        own = [result for result in results if result.row == row.name]
        done = tuple(result for result in own if result.finished)
        first = summaries[0].cells if summaries else {}
        cells = {metric.key: _cell(metric, done, first.get(metric.key)) for metric in metrics if done}
        summaries.append(RowSummary(row, done, tuple(r for r in own if not r.finished), cells))
    return summaries


def _cell(metric: Metric, results: Sequence[RunResult], first: Cell | None) -> Cell:
    for result in results:
        if metric.key not in result.metrics:
            known = ", ".join(sorted(result.metrics))
            raise TableError(f"metrics: no {metric.key!r} in the runs of row {result.row}; there are {known}")
    values = {result.seed: metric.scale * result.metrics[metric.key] for result in results}
    return Cell(values, None if first is None else paired_difference(values, first.values))


def paired_difference(values: Mapping[int, float], base: Mapping[int, float]) -> Difference | None:
    """Mean of ``values[seed] - base[seed]`` over common seeds, with its standard error; None without any."""
    differences = [values[seed] - base[seed] for seed in sorted(values.keys() & base.keys())]
    if not differences:
        return None
    deviation = _deviation(differences)
    error = None if deviation is None else deviation / len(differences) ** 0.5
    return Difference(float(np.mean(differences)), error, len(differences))


def _deviation(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _cell_dict(cell: Cell) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "values": {str(seed): value for seed, value in cell.values.items()},
        "mean": cell.mean,
        "sd": cell.deviation,
    }
    if cell.difference is not None:
        entry["difference"] = {
            "mean": cell.difference.mean,
            "standard_error": cell.difference.standard_error,
            "seeds": cell.difference.seeds,
            "verdict": cell.difference.verdict,
        }
    return entry
