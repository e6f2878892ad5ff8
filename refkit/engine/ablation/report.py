"""A table as files: Markdown to read, JSON with everything, CSV for other programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from refkit.data.files import atomic_write
from refkit.engine.ablation.chart import draw_chart
from refkit.engine.ablation.summary import NOISE_RULE, Cell, RowSummary
from refkit.engine.ablation.table import Metric, Table


@dataclass(frozen=True)
class Circumstances:
    """What the numbers were made under.

    Attributes:
        budget: of every run, in words.
        iterations: of every run.
        seeds: per row.
        parallel: how many runs went on side by side.
        command: that makes the table.
    """

    budget: str
    iterations: int
    seeds: int
    parallel: int
    command: str


def write_report(
    folder: Path,
    table: Table,
    summaries: Sequence[RowSummary],
    starts: Sequence[RowSummary],
    circumstances: Circumstances,
) -> list[Path]:
    """Write ``table.md``, ``table.json``, ``table.csv`` and ``table.png``.

    Args:
        folder: where.
        table: what was asked for.
        summaries: its rows.
        starts: what rows begin with.
        circumstances: of all of them.

    Returns:
        The paths written; without any finished run there is no chart.
    """
    content = {
        "title": table.title,
        **asdict(circumstances),
        "noise_rule": NOISE_RULE,
        "machines": _distinct(summaries, "machine"),
        "code": _distinct(summaries, "code"),
        "rows": [summary.to_dict() for summary in summaries],
        "starts": [summary.to_dict() for summary in starts],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"
    written = [
        atomic_write(folder / "table.md", markdown(table, summaries, starts, circumstances)),
        atomic_write(folder / "table.json", text),
        atomic_write(folder / "table.csv", as_csv(table.metrics, summaries)),
    ]
    if any(summary.results for summary in summaries):
        written.append(draw_chart(folder / "table.png", table.title, table.metrics[0], summaries))
    return written


def markdown(
    table: Table,
    summaries: Sequence[RowSummary],
    starts: Sequence[RowSummary],
    circumstances: Circumstances,
) -> str:
    """The table with everything that a reader needs to judge it."""
    first = summaries[0].row.label
    heads = [f"{metric.heading} | minus {first}" for metric in table.metrics]
    lines = [
        f"# {table.title}",
        "",
        f"| row | {' | '.join(heads)} | n | s per run |",
        f"|---|{'---:|---|' * len(table.metrics)}---:|---:|",
        *(_line(summary, table.metrics) for summary in summaries),
        "",
        "Mean ± standard deviation over seeds; n = runs. " + NOISE_RULE,
        "",
        f"- Budget: {circumstances.budget}; validated at the end.",
        *(_start_line(start, table) for start in starts if start.results),
        *_origin(summaries),
        f"- Command: `{circumstances.command}`",
    ]
    return "\n".join([*lines, *_failures(summaries)]) + "\n"


def as_csv(metrics: Sequence[Metric], summaries: Sequence[RowSummary]) -> str:
    """One line for each row and metric; numbers as in the table, unrounded."""
    names = [
        "row",
        "label",
        "metric",
        "n",
        "mean",
        "sd",
        "difference",
        "standard_error",
        "verdict",
        "seconds",
    ]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for summary in summaries:
        for metric in metrics if summary.results else ():
            cell = summary.cells[metric.key]
            gap = cell.difference
            compared = [gap.mean, gap.standard_error, gap.verdict] if gap else ["", "", ""]
            numbers = [len(cell.values), cell.mean, cell.deviation, *compared, summary.seconds]
            writer.writerow([summary.row.name, summary.row.label, metric.key, *map(_blank, numbers)])
    return buffer.getvalue()


def _line(summary: RowSummary, metrics: Sequence[Metric]) -> str:
    label = summary.row.label.replace("|", "\\|")
    if not summary.results:
        state = f"failed ({len(summary.failed)})" if summary.failed else "not run"
        return f"| {label} | {' | '.join([state, '–'] * len(metrics))} | 0 | – |"
    cells = " | ".join(f"{_value(summary.cells[m.key])} | {_gap(summary.cells[m.key])}" for m in metrics)
    failed = f", {len(summary.failed)} failed" if summary.failed else ""
    return f"| {label} | {cells} | {len(summary.results)}{failed} | {summary.seconds:.0f} |"


def _start_line(start: RowSummary, table: Table) -> str:
    """What rows begin with, and how good it is by itself."""
    users = [row.label for row in table.rows if row.start == start.row.name]
    scores = ", ".join(f"{metric.heading} {_value(start.cells[metric.key])}" for metric in table.metrics)
    shared = "all rows" if len(users) == len(table.rows) else ", ".join(users)
    return (
        f"- Start of {shared}: {start.row.label}, {start.results[0].iterations} iterations, one run for each "
        f"seed, {start.seconds:.0f} s each; {scores}."
    )


def _value(cell: Cell) -> str:
    spread = "" if cell.deviation is None else f" ± {cell.deviation:.2f}"
    return f"{cell.mean:.2f}{spread}"


def _gap(cell: Cell) -> str:
    gap = cell.difference
    if gap is None:
        return "–"
    if gap.standard_error is None:
        return f"{gap.mean:+.2f}, {gap.verdict}"
    return f"{gap.mean:+.2f} ± {gap.standard_error:.2f}, {gap.verdict}"


def _failures(summaries: Sequence[RowSummary]) -> list[str]:
    lines: list[str] = []
    for summary in summaries:
        for result in summary.failed:
            lines += ["", f"{summary.row.label}, seed {result.seed}, failed:", "", "```text"]
            lines += [*result.reason.splitlines(), "```"]
    return lines


def _origin(summaries: Sequence[RowSummary]) -> list[str]:
    """Machine and code of the finished runs, if there are any."""
    machines, code = _distinct(summaries, "machine"), _distinct(summaries, "code")
    if not machines:
        return []
    mixed = " (not all runs are of the same code)" if len(code) > 1 else ""
    return [
        f"- Machine: {'; '.join(machines)}; {_side_by_side(summaries)}.",
        f"- Code: {'; '.join(code)}{mixed}.",
    ]


def _side_by_side(summaries: Sequence[RowSummary]) -> str:
    places = {(run.parallel, run.threads) for summary in summaries for run in summary.results}
    told = [
        f"{parallel} runs side by side, threads of each: {threads}"
        if parallel > 1
        else f"one run at a time, threads: {threads}"
        for parallel, threads in sorted(places)
    ]
    return "; ".join(told)


def _distinct(summaries: Sequence[RowSummary], name: str) -> list[str]:
    return sorted({getattr(result, name) for summary in summaries for result in summary.results})


def _blank(value: float | str | None) -> float | str:
    return "" if value is None else value
