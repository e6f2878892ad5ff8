"""A small bar chart of a table."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

from refkit.data.files import atomic_write
from refkit.engine.ablation.summary import RowSummary
from refkit.engine.ablation.table import Metric

_BAR, _SEED, _REFERENCE = "#4c78a8", "#1b2a3a", "#9aa5b1"

_TITLE_WIDTH = 90
"""Letters of a line above the chart."""


def draw_chart(path: Path, title: str, metric: Metric, summaries: Sequence[RowSummary]) -> Path:
    """Bars of one metric from zero: mean, standard deviation as error bar, single runs as dots.

    A dashed line continues the mean of the first row.

    Args:
        path: of the PNG.
        title: of the table.
        metric: which.
        summaries: rows without finished runs are left out.

    Returns:
        The path.
    """
    from matplotlib.figure import Figure

    shown = [summary for summary in summaries if summary.results]
    figure = Figure(figsize=(6.4, 1.0 + 0.36 * len(shown)), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for place, summary in enumerate(shown):
        cell = summary.cells[metric.key]
        axes.barh(place, cell.mean, height=0.62, color=_BAR, alpha=0.75, zorder=2)
        if cell.deviation is not None:
            axes.errorbar(
                cell.mean, place, xerr=cell.deviation, color=_SEED, capsize=3, linewidth=1.2, zorder=4
            )
        axes.scatter(list(cell.values.values()), [place] * len(cell.values), s=9, color=_SEED, zorder=3)
    if summaries[0].results:
        axes.axvline(
            summaries[0].cells[metric.key].mean, color=_REFERENCE, linestyle="--", linewidth=1, zorder=1
        )
    axes.set_yticks(range(len(shown)), [summary.row.label for summary in shown])
    axes.invert_yaxis()
    axes.set_xlabel(f"{metric.heading}: mean ± sd over seeds, dots are runs")
    figure.suptitle(textwrap.fill(title, _TITLE_WIDTH), fontsize=10, x=0.01, ha="left")
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return atomic_write(path, buffer.getvalue())
