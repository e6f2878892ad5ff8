"""A result as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.markup import escape

from refkit.leaderboard.breakdowns.partitions import NAMES
from refkit.leaderboard.fitting_table import FittingTable, Row
from refkit.leaderboard.result import Cell, Metric, Result

FEW = 30
SHOWN_GROUPS = 15
NOUNS = {"caption": "regions", "attributes": "regions", "categories": "regions", "captions": "pictures"}
"""What a record stands for, by the field of the answers that a protocol reads."""


def to_json(result: Result, baselines: Mapping[str, Result] | None = None) -> str:
    """The JSON text of a result; equal inputs give equal bytes.

    Args:
        result: what was scored.
        baselines: trivial predictors on the same records, kept under ``baselines`` with their numbers only.
    """
    fields = result.to_json()
    if baselines:
        beside = {name: other.to_json() for name, other in baselines.items()}
        fields["baselines"] = {
            name: {"metrics": other["metrics"], "by": other["by"]} for name, other in beside.items()
        }
    return json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def render(result: Result, baselines: Mapping[str, Result] | None = None) -> RenderableType:
    """Head line, metrics, breakdowns, warnings.

    Args:
        result: what was scored.
        baselines: trivial predictors on the same records under the same protocol, for comparison.
    """
    rows = {result.model or "predictions": result, **(baselines or {})}
    parts: list[RenderableType] = [_head(result), _metrics_table(result, rows)]
    if result.by:
        parts.append(_breakdown_table(result, rows))
    parts += _analysis_tables(result)
    parts += [f"[yellow]Warning:[/yellow] {escape(warning)}" for warning in result.warnings]
    return Group(*parts)


def _head(result: Result) -> str:
    partial = "  [red]partial: not a score of the set[/red]" if result.partial else ""
    return (
        f"[bold]{escape(result.model)}[/bold] on [bold]{escape(result.records)}[/bold], "
        f"protocol {result.protocol.id}\n"
        f"{result.scored:,} {NOUNS.get(result.protocol.answer, 'expressions')} on {result.images:,} images · "
        f"coverage {result.answered:,}/{result.expected:,} · invalid {result.invalid:,}{partial}"
    )


def _metrics_table(result: Result, rows: Mapping[str, Result]) -> FittingTable:
    """One line per metric, one column per predictor."""
    lines = [
        Row([_label(result, name), *(percent(row.metrics[name]) for row in rows.values())])
        for name in result.metrics
    ]
    return FittingTable("percent, 95 % interval by image bootstrap", ["", *map(escape, rows)], lines)


def _breakdown_table(result: Result, rows: Mapping[str, Result]) -> FittingTable:
    """One line per group with the first metric of every predictor; the JSON has them all."""
    first = next(iter(result.metrics))
    lines = []
    for by, cells in result.by.items():
        shown = largest(cells)
        for place, group in enumerate(shown):
            numbers = [_first_number(row.by[by].get(group), first) for row in rows.values()]
            name = escape(NAMES.get(by, by)) if place == 0 else ""
            cell = cells[group]
            line = [name, escape(group), f"{cell.n:,}", *numbers]
            lines.append(Row(line, _style(cell), section=place == 0))
        if len(shown) < len(cells):
            lines.append(Row(["", f"… {len(cells) - len(shown)} more in the JSON", "", *("" for _ in rows)]))
    title = f"{_label(result, first)} by group; fewer than {FEW} samples in grey"
    return FittingTable(title, ["", "", "n", *map(escape, rows)], lines, fixed=3, left=2)


def largest(cells: Mapping[str, Cell]) -> list[str]:
    """The groups that a table has room for: all of few, else those with most samples, in their order."""
    if len(cells) <= SHOWN_GROUPS:
        return list(cells)
    kept = sorted(cells, key=lambda group: -cells[group].n)[:SHOWN_GROUPS]
    return [group for group in cells if group in kept]


def _first_number(cell: Cell | None, metric: str) -> str:
    return "-" if cell is None else percent(cell.metrics[metric])


def _analysis_tables(result: Result) -> list[RenderableType]:
    """Kinds of errors and calibration of the scored method."""
    analysis = result.analysis
    if analysis is None:
        return []
    parts: list[RenderableType] = []
    if analysis.errors:
        objects = (
            "all annotated objects" if analysis.objects_complete else "only targets of the records known"
        )
        parts.append(_cells_table(f"what the answers hit ({objects})", analysis.errors))
    if analysis.calibration:
        error = f"{100 * analysis.calibration.error:.2f}"
        title = f"calibration by score of the answer; expected calibration error {error} %"
        parts.append(_cells_table(title, analysis.calibration.bins))
    return [*parts, f"[dim]breakdown rules {escape(analysis.rules['version'])}[/dim]"]


def _cells_table(title: str, cells: Mapping[str, Cell]) -> FittingTable:
    """One line per cell, one column per metric."""
    lines = [
        Row([escape(label), f"{cell.n:,}", *map(percent, cell.metrics.values())], _style(cell))
        for label, cell in cells.items()
    ]
    return FittingTable(title, ["", "n", *next(iter(cells.values())).metrics], lines, fixed=2)


def _style(cell: Cell) -> str | None:
    return "dim" if cell.n < FEW else None


def _label(result: Result, metric: str) -> str:
    return result.protocol.labels.get(metric, metric)


def percent(metric: Metric) -> str:
    """``61.5 [58.9, 64.2]``."""
    if math.isnan(metric.value):
        return "-"
    value = f"{100 * metric.value:.2f}"
    if metric.interval is None:
        return value
    low, high = metric.interval
    return f"{value} \\[{100 * low:.1f}, {100 * high:.1f}]"
