"""``refkit compare``: two methods on the same records."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from refkit.data.files import atomic_write
from refkit.leaderboard.comparison import ComparisonError, Pair, compare, to_json
from refkit.leaderboard.comparison_table import render
from refkit.leaderboard.scoring import DRAWS


def command(
    predictions: Annotated[
        list[Path],
        typer.Argument(
            help="Prediction files A and B; for several sets of records A1 B1 A2 B2 …; with --worst also one "
            "file alone.",
            show_default=False,
        ),
    ],
    records: Annotated[
        list[Path],
        typer.Option(help="Records file; once per pair of predictions, in their order.", show_default=False),
    ],
    protocol: Annotated[str, typer.Option(help="Id of the protocol.")] = "rec/1",
    json: Annotated[
        Path | None,
        typer.Option("--json", help="Write the comparison as JSON; '-' prints it instead of the tables."),
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Folder for a web page with pictures of the samples that changed.")
    ] = None,
    worst: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Show so many samples per direction with the largest difference of IoU on the page; of one "
            "prediction file: its answers of lowest IoU.",
        ),
    ] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Random pictures per direction on the page.")] = 40,
    image_root: Annotated[Path | None, typer.Option(help="Folder of the pictures.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder that the records' image_root is in.")] = None,
    draws: Annotated[
        int, typer.Option(min=0, help="Draws of the paired image bootstrap; 10000 to publish.")
    ] = DRAWS,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap and of the choice of pictures.")] = 0,
) -> None:
    """Compare two methods: difference, interval, p value, and the samples that changed sides.

    Shares of hits are tested by the exact McNemar test, other metrics by the paired image bootstrap. Over
    several sets of records the p values are corrected by Holm's method.

    Example: refkit compare a.predictions.jsonl b.predictions.jsonl --records refcoco.unc.val.jsonl --page out

    Example: refkit compare a.predictions.jsonl --records refcoco.unc.val.jsonl --worst 20 --page out
    """
    from refkit.leaderboard.answer_cards import PageOptions

    options = PageOptions(worst or pictures, worst is not None, seed, image_root, data_root)
    if worst is not None and page is None:
        raise ComparisonError("--worst chooses pictures; --page says which folder they go to")
    if worst is not None and page is not None and len(predictions) == len(records) == 1:
        from refkit.leaderboard.worst_page import write_worst_page

        _say(Console(), *write_worst_page(page, records[0], predictions[0], protocol, options))
        return
    pairs = _pairs(predictions, records)
    comparisons = compare(pairs, protocol, draws=draws, seed=seed)
    text = json_text.dumps(to_json(comparisons), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    console = Console(stderr=json == Path("-"))
    if json == Path("-"):
        typer.echo(text, nl=False)
    else:
        console.print(render(comparisons))
    if json is not None and json != Path("-"):
        atomic_write(json, text)
    if page is not None:
        from refkit.leaderboard.comparison_page import write_page

        _say(console, *write_page(page, pairs, comparisons, options))


def _say(console: Console, page: Path, missing: int) -> None:
    console.print(f"page: {escape(str(page))}")
    if missing:
        console.print(
            f"[yellow]Warning:[/yellow] {missing} pictures are not at hand; set --image-root or --data-root"
        )


def _pairs(predictions: list[Path], records: list[Path]) -> list[Pair]:
    if len(predictions) != 2 * len(records):
        raise ComparisonError(
            f"number of prediction files: {len(predictions)}, of records files: {len(records)}; expected two "
            "per records file: refkit compare A1 B1 A2 B2 --records R1 --records R2; of one file alone "
            "--worst N --page FOLDER shows the answers of lowest IoU"
        )
    return [Pair(path, a, b) for path, a, b in zip(records, predictions[::2], predictions[1::2], strict=True)]
