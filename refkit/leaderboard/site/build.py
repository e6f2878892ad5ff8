"""`refkit leaderboard build`: entries → a folder of pages for any browser and any static host."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from tqdm import tqdm

from refkit.data.files import atomic_write
from refkit.leaderboard.board.boards import BoardTable, Cell, Page, Row, build_pages
from refkit.leaderboard.board.export import FORMATS
from refkit.leaderboard.board.metrics import metric_style
from refkit.leaderboard.entries.files import Located, load_entries, read_notes
from refkit.leaderboard.entries.schema import Overlap
from refkit.leaderboard.entries.sources import RecordShelf
from refkit.leaderboard.site.charts import Point, interval_bar, scatter
from refkit.leaderboard.site.insight import Workshop
from refkit.metrics.protocol import protocols
from refkit.version import __version__

ASSETS = ("site.css", "site.js")
BAR: dict[str, Any] = {"unit": " methods", "delay": 2.0, "disable": None, "leave": False}
TASK_TITLES = {
    "rec": "Referring expression comprehension (boxes)",
    "res": "Referring expression segmentation (masks)",
    "grec": "Generalised comprehension (none, one or several boxes)",
    "gres": "Generalised segmentation (none, one or several objects)",
    "phrase": "Phrase grounding",
    "reason": "Reasoning segmentation",
    "caption": "Region captioning",
    "densecap": "Dense captioning",
    "attributes": "Attributes of regions",
    "recognition": "Recognition of regions",
    "reasoning": "Referring reasoning",
}
DATASET_TITLES = {
    "refcoco": "RefCOCO",
    "refcocoplus": "RefCOCO+",
    "refcocog": "RefCOCOg",
    "grefcoco": "gRefCOCO",
    "referit": "ReferItGame",
    "flickr30k": "Flickr30k",
    "refshapes": "RefShapes",
    "vg": "Visual Genome",
    "vgcoco": "VG-COCO",
    "ovad": "OVAD",
    "coco": "COCO",
    "ferretbench": "Ferret-Bench",
}


@dataclass(frozen=True, slots=True)
class SiteSummary:
    """What was built: the first page, and how many entries, pages and pictures there are."""

    index: Path
    entries: int
    pages: int
    pictures: int


@dataclass(slots=True)
class _Site:
    """The pages under way."""

    out: Path
    title: str
    jinja: Environment
    pages: int = 0
    pictures: int = 0
    used_protocols: set[str] = field(default_factory=set)

    def render(self, template: str, path: str, **values: Any) -> None:
        """Write one page; ``root`` leads from it to the folder of the site."""
        root = "../" * path.count("/")
        text = self.jinja.get_template(template).render(root=root, site_title=self.title, **values)
        atomic_write(self.out / path, text)
        self.pages += 1


def build_site(
    folder: Path,
    out: Path,
    shelf: RecordShelf | None = None,
    data_root: Path | None = None,
    title: str = "Leaderboard",
) -> SiteSummary:
    """Write the whole site.

    Args:
        folder: of the entries.
        out: of the site; files of the same names are replaced, others stay.
        shelf: records for breakdowns and galleries; those of RefShapes are drawn again.
        data_root: where the pictures of other records are.
        title: of the site.

    Raises:
        EntryError: an entry that is not valid.
    """
    entries = load_entries(folder)
    pages = build_pages(entries)
    site = _Site(out, title, _environment())
    for name in ASSETS:
        atomic_write(
            out / "assets" / name, files("refkit.leaderboard.site").joinpath("assets", name).read_bytes()
        )
    _render_boards(site, pages)
    workshop = Workshop(folder, out, shelf or RecordShelf(), data_root)
    for located in tqdm(entries, "build", **BAR):
        _render_method(site, located, workshop)
    by_task = {task: [page for page in pages if page.task == task] for task in TASK_TITLES}
    tasks = {task: found for task, found in by_task.items() if found}
    counts = Counter(located.entry.status for located in entries)
    site.render(
        "index.html.j2", "index.html", tasks=tasks, titles=TASK_TITLES, counts=counts, **read_notes(folder)
    )
    return SiteSummary(out / "index.html", len(entries), site.pages, site.pictures)


def _environment() -> Environment:
    jinja = Environment(
        loader=PackageLoader("refkit.leaderboard.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.globals.update(version=__version__, metric_style=metric_style, dataset_title=dataset_title)
    jinja.filters.update(overlap_kind=overlap_kind, row_key=id, groupby_in_order=_grouped)
    return jinja


def overlap_kind(overlap: Overlap) -> str:
    """``none``, ``some`` or ``unknown``, as the filter offers it."""
    if overlap.how == "unknown":
        return "unknown"
    return "some" if overlap.images else "none"


def dataset_title(name: str) -> str:
    """``RefCOCO+ (unc)`` for ``refcocoplus.unc``."""
    dataset, _, division = name.partition(".")
    readable = re.sub(r"(?<=\d)_(?=\d)", ".", division).replace("_", " ")
    return f"{DATASET_TITLES.get(dataset, dataset)} ({readable})"


def _grouped(items: Sequence[Any], attribute: str) -> list[tuple[Any, list[Any]]]:
    """Neighbours that agree in an attribute, in their order."""
    return [(key, list(found)) for key, found in groupby(items, lambda item: getattr(item, attribute))]


def _render_boards(site: _Site, pages: Iterable[Page]) -> None:
    texts = {identity: protocol.text for identity, protocol in protocols().items()}
    for page in pages:
        for table in page.tables:
            for ending, write in FORMATS.items():
                atomic_write(site.out / "export" / page.task / f"{table.name}.{ending}", write(table))
        used = sorted({row.protocol for table in page.tables for row in table.rows})
        first = page.tables[0].metric
        shown = [table for table in page.tables if table.metric == first]
        site.render(
            "board.html.j2",
            f"{page.task}/{page.dataset}.html",
            page=page,
            title=TASK_TITLES[page.task],
            filters=_filters(page),
            charts=_charts(shown),
            bars={table.name: _interval_bars(table) for table in page.tables},
            protocol_texts={name: texts[name] for name in used if name in texts},
            formats=tuple(FORMATS),
        )


def _filters(page: Page) -> dict[str, list[str]]:
    """The values each filter offers."""
    rows = [row for table in page.tables for row in table.rows]
    found: dict[str, set[str]] = {
        "status": {row.entry.status for row in rows},
        "setting": {row.entry.training.setting for row in rows},
        "backbone": {row.entry.model.visual or "not stated" for row in rows},
        "pretraining": {row.entry.training.pretraining or "not stated" for row in rows},
        "overlap": {overlap_kind(cell.overlap) for row in rows for cell in row.cells.values()},
        "protocol": {row.protocol for row in rows},
    }
    return {name: sorted(values, key=str.casefold) for name, values in found.items()}


def _interval_bars(table: BoardTable) -> dict[int, dict[str, Markup]]:
    """By ``id`` of the row and split, all on the scale of their column."""
    drawn: dict[int, dict[str, Markup]] = {id(row): {} for row in table.rows}
    for split in table.splits:
        column = [(row, row.cells[split]) for row in table.rows if split in row.cells]
        ends = [end for _, cell in column for end in (cell.interval or (cell.value, cell.value))]
        for row, cell in column:
            drawn[id(row)][split] = interval_bar(cell.value, cell.interval, min(ends), max(ends))
    return drawn


def _charts(tables: Sequence[BoardTable]) -> list[dict[str, Any]]:
    """Per split: accuracy against parameters and against year, over all setting groups."""
    splits = list(dict.fromkeys(split for table in tables for split in table.splits))
    charts = []
    for split in splits:
        cells = [
            (table, row, row.cells[split]) for table in tables for row in table.rows if split in row.cells
        ]
        label = f"{tables[0].style.label}, {split}"
        sized = [(row.entry.model.parameters_m, *rest) for rest in cells for row in rest[1:2]]
        dated = [(row.entry.paper.year, *rest) for rest in cells for row in rest[1:2]]
        parameters = _scatter(sized, "parameters in millions", label, logarithmic=True)
        year = _scatter(dated, "year", label, logarithmic=False)
        if parameters or year:
            charts.append({"split": split, "parameters": parameters, "year": year})
    return charts


def _scatter(
    found: Iterable[tuple[float | None, BoardTable, Row, Cell]], x_title: str, y_title: str, logarithmic: bool
) -> Markup | None:
    points = []
    for x, table, row, cell in found:
        if x is None:
            continue
        scale = table.style.scale
        ends = cell.interval and (cell.interval[0] * scale, cell.interval[1] * scale)
        link = f"../method/{row.entry.task}/{row.located.name}.html"
        points.append(Point(x, cell.value * scale, row.entry.method, link, row.entry.status, ends))
    return scatter(points, x_title, y_title, logarithmic) if len(points) > 1 else None


def _render_method(site: _Site, located: Located, workshop: Workshop) -> None:
    insights = workshop.insights(located)
    site.pictures += sum(len(shots) for insight in insights for shots in insight.shots.values())
    facts = _method_facts(located)
    site.render(
        "method.html.j2",
        f"method/{located.entry.task}/{located.name}.html",
        located=located,
        entry=located.entry,
        title=TASK_TITLES[located.entry.task],
        insights=insights,
        facts=facts,
    )


def _method_facts(located: Located) -> Mapping[str, Any]:
    entry = located.entry
    found = {
        "Venue": " ".join(str(part) for part in (entry.paper.venue, entry.paper.year) if part),
        "Status": entry.status,
        "Setting": entry.training.setting.replace("_", " "),
        "Visual backbone": entry.model.visual,
        "Language model": entry.model.language,
        "Parameters": entry.model.parameters_m and f"{entry.model.parameters_m:g} M",
        "Resolution": entry.model.resolution and f"{entry.model.resolution} px",
        "Trained on": ", ".join(item.records for item in entry.training.data),
        "Pre-training data": " · ".join(
            text for text in (entry.training.pretraining, entry.training.pretraining_size) if text
        ),
        "Entry made by": " · ".join(
            text for text in (entry.refkit and f"refkit {entry.refkit}", entry.date) if text
        ),
    }
    return {name: value for name, value in found.items() if value}
