"""What the page of a method shows where its prediction file and the records are at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from markupsafe import Markup

from refkit.data.files import data_root as resolve_data_root
from refkit.data.records import read_records
from refkit.data.schema import Header, Record
from refkit.leaderboard.board.metrics import metric_style
from refkit.leaderboard.entries.files import EntryError, Located, inside
from refkit.leaderboard.entries.schema import ResultEntry
from refkit.leaderboard.entries.sources import RecordShelf
from refkit.leaderboard.predictions import load_predictions
from refkit.leaderboard.result import Cell, Result
from refkit.leaderboard.scoring import score
from refkit.leaderboard.site.charts import Bar, bars
from refkit.leaderboard.site.gallery import Shot, choose, take

DRAWS = 1000
MOST_GROUPS = 20


@dataclass(slots=True)
class Insight:
    """Breakdowns and pictures of one result.

    Attributes:
        records: name of the records.
        protocol: id of the protocol.
        charts: title and drawing of every breakdown.
        shots: the gallery, by heading.
        fault: why there is neither, in words.
    """

    records: str
    protocol: str
    charts: list[tuple[str, Markup]] = field(default_factory=list)
    shots: dict[str, list[Shot]] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where things come from and go to while a site is built."""

    folder: Path
    site: Path
    shelf: RecordShelf
    data_root: Path | None = None

    def insights(self, located: Located) -> list[Insight]:
        """One per result whose prediction file and records are at hand."""
        found = (self._insight(located, result) for result in located.entry.results if result.predictions)
        return [insight for insight in found if insight is not None]

    def _insight(self, located: Located, result: ResultEntry) -> Insight | None:
        source = self.shelf.source(result)
        if source is None or result.predictions is None or result.protocol is None:
            return None
        insight = Insight(result.records, result.protocol)
        try:
            path = inside(self.folder, result.predictions.file)
            header, records = source if isinstance(source, tuple) else read_records(source)
            records = list(records)
            found = score((header, records), path, result.protocol, by=("all",), draws=DRAWS)
            insight.charts = list(_charts(found))
            insight.shots = self._shots(located, found, header, records, path)
        except (ValueError, OSError) as error:
            insight.fault = str(error)
        return insight

    def _shots(
        self, located: Located, found: Result, header: Header, records: list[Record], path: Path
    ) -> dict[str, list[Shot]]:
        root = PurePosixPath(header.image_root.replace("\\", "/"))
        if root.is_absolute() or ".." in root.parts:
            raise EntryError(
                f"image_root {header.image_root!r} leads out of the data root; no pictures are shown"
            )
        pictures = resolve_data_root(self.data_root) / root
        inner = f"gallery/{located.entry.task}/{located.name}/{found.records}"
        answers = load_predictions(path)
        return take(
            choose(found.per_sample), records, answers, found.per_sample, header, pictures, self.site, inner
        )


def _charts(result: Result) -> list[tuple[str, Markup]]:
    first = next(iter(result.metrics))
    tables: dict[str, tuple[str, Mapping[str, Cell]]] = {
        name: (first, cells) for name, cells in result.by.items()
    }
    charts = [
        (f"{metric_style(metric).label} by {name.replace('_', ' ')}", _chart(metric, name, cells))
        for name, (metric, cells) in tables.items()
        if len(cells) > 1
    ]
    if result.analysis is not None and result.analysis.errors:
        charts.append(
            ("What became of the answers, in percent", _chart("share", "answers", result.analysis.errors))
        )
    return charts


def _chart(metric: str, name: str, cells: Mapping[str, Cell]) -> Markup:
    """The largest groups first where there are many; the others keep their order."""
    shown = [(label, cell) for label, cell in cells.items() if metric in cell.metrics]
    if len(shown) > MOST_GROUPS:
        shown = sorted(shown, key=lambda pair: -pair[1].n)[:MOST_GROUPS]
    rows = []
    for label, cell in shown:
        number = cell.metrics[metric]
        ends = number.interval and (100 * number.interval[0], 100 * number.interval[1])
        if number.value == number.value:
            rows.append(Bar(label, cell.n, 100 * number.value, ends))
    return bars(rows, f"{metric_style(metric).label} by {name}")
