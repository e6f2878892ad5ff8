"""A result as a table for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from refkit.leaderboard.result import Metric, Result

FEW = 30


def render(result: Result, baselines: Mapping[str, Result] | None = None) -> RenderableType:
    """Head line, metrics, breakdowns, warnings.

    Args:
        result: what was scored.
        baselines: trivial predictors on the same records under the same protocol, for comparison.
    """
    rows = {result.model or "predictions": result, **(baselines or {})}
    parts: list[RenderableType] = [_head(result), _metrics_table(result, rows)]
    parts += [_breakdown_table(result, by, rows) for by in result.by]
    parts += [f"[yellow]Warning:[/yellow] {escape(warning)}" for warning in result.warnings]
    return Group(*parts)


def _head(result: Result) -> str:
    partial = "  [red]partial: not a score of the set[/red]" if result.partial else ""
    return (
        f"[bold]{escape(result.model)}[/bold] on [bold]{escape(result.records)}[/bold], "
        f"protocol {result.protocol.id}\n"
        f"{result.scored:,} expressions on {result.images:,} images · "
        f"coverage {result.answered:,}/{result.expected:,} · invalid {result.invalid:,}{partial}"
    )


def _metrics_table(result: Result, rows: Mapping[str, Result]) -> Table:
    table = Table(title="percent, 95 % interval by image bootstrap", title_justify="left")
    table.add_column("")
    for name in result.metrics:
        table.add_column(result.protocol.labels.get(name, name), justify="right")
    for label, row in rows.items():
        table.add_row(escape(label), *(percent(metric) for metric in row.metrics.values()))
    return table


def _breakdown_table(result: Result, by: str, rows: Mapping[str, Result]) -> Table:
    """One line per group; every predictor with the first metric, the scored one with all of them."""
    first = next(iter(result.metrics))
    others: Sequence[str] = [label for label, row in rows.items() if row is not result]
    table = Table(title=f"by {escape(by)}", title_justify="left")
    table.add_column("")
    table.add_column("n", justify="right")
    for name in result.metrics:
        table.add_column(result.protocol.labels.get(name, name), justify="right")
    for label in others:
        table.add_column(f"{escape(label)}\n{result.protocol.labels.get(first, first)}", justify="right")
    for group, cell in result.by[by].items():
        numbers = [percent(metric) for metric in cell.metrics.values()]
        numbers += [percent(rows[label].by[by][group].metrics[first]) for label in others]
        table.add_row(escape(group), f"{cell.n:,}", *numbers, style="dim" if cell.n < FEW else None)
    return table


def percent(metric: Metric) -> str:
    """``61.5 [58.9, 64.2]``."""
    if math.isnan(metric.value):
        return "-"
    value = f"{100 * metric.value:.2f}"
    if metric.interval is None:
        return value
    low, high = metric.interval
    return f"{value} \\[{100 * low:.1f}, {100 * high:.1f}]"
