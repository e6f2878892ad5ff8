"""A comparison as rows of text: for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from refkit.leaderboard.comparison import LEVEL, Comparison, MetricTest

HEADINGS = ("A", "B", "A − B", "95 % interval", "p", "p (Holm)")


def table_rows(comparison: Comparison) -> list[list[str]]:
    """One row per metric: name, A, B, difference, interval, p, adjusted p."""
    protocol = comparison.protocol
    return [[protocol.labels.get(name, name), *_cells(test)] for name, test in comparison.tests.items()]


def about(comparison: Comparison) -> str:
    """What was compared, in one line."""
    a, b = (f"{count:,}" for count in comparison.answered)
    return (
        f"{comparison.n:,} samples on {comparison.images:,} images · answered {a} and {b} · "
        f"protocol {comparison.protocol.id} · metrics times 100 · {test_names(comparison)}"
    )


def test_names(comparison: Comparison) -> str:
    """Which tests the p values come from."""
    tests = comparison.tests.values()
    exact = "exact McNemar test for hits" if any(test.mcnemar for test in tests) else ""
    other = "paired image bootstrap otherwise" if exact else "paired image bootstrap"
    return "p: " + ", ".join(filter(None, (exact, "" if all(test.mcnemar for test in tests) else other)))


def warning_lines(comparison: Comparison) -> list[str]:
    """The warnings of both scores, each with the method that it is about."""
    sides = zip("AB", comparison.models, comparison.warnings, strict=True)
    return [f"{side} ({model}): {one}" for side, model, warnings in sides for one in warnings]


def render(comparisons: Sequence[Comparison]) -> RenderableType:
    """All comparisons as tables for a terminal."""
    first = comparisons[0]
    a, b = (escape(name) for name in first.models)
    parts: list[RenderableType] = [f"A [bold]{a}[/bold] against B [bold]{b}[/bold]"]
    for comparison in comparisons:
        parts += [_table(comparison), _changed_line(comparison)]
        parts += [f"[yellow]Warning:[/yellow] {escape(warning)}" for warning in warning_lines(comparison)]
        parts.append("")
    if len(comparisons) > 1:
        parts.append(f"p (Holm): adjusted over {len(comparisons)} sets of records, per metric")
    return Group(*parts)


def _table(comparison: Comparison) -> Table:
    table = Table(title=f"{escape(comparison.records)}: {about(comparison)}", title_justify="left")
    table.add_column("")
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    tests = comparison.tests.values()
    for row, test in zip(table_rows(comparison), tests, strict=True):
        sure = test.p_holm is not None and test.p_holm < LEVEL
        table.add_row(*map(escape, row), style="bold" if sure else None)
    return table


def _changed_line(comparison: Comparison) -> str:
    if not comparison.hit_metric:
        return "no metric of this protocol is a share of hits, so no sample changes sides"
    label = comparison.protocol.labels.get(comparison.hit_metric, comparison.hit_metric)
    return (
        f"changed sides at {escape(label)}: {len(comparison.only_a):,} only A, "
        f"{len(comparison.only_b):,} only B"
    )


def _cells(test: MetricTest) -> list[str]:
    found = test.difference
    interval = "-"
    if found.interval is not None:
        low, high = (100 * end for end in found.interval)
        interval = f"[{low:+.2f}, {high:+.2f}]"
    values = (f"{100 * found.a:.2f}", f"{100 * found.b:.2f}", f"{100 * found.difference:+.2f}")
    return [*values, interval, _p(test.p), _p(test.p_holm)]


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"
