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
            help="Prediction files A and B; for several sets of records A1 B1 A2 B2 …", show_default=False
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
    pictures: Annotated[int, typer.Option(min=0, help="Pictures per direction on the page.")] = 40,
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
    """
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
        from refkit.leaderboard.comparison_page import PageOptions, write_page

        path, missing = write_page(
            page, pairs, comparisons, PageOptions(pictures, seed, image_root, data_root)
        )
        console.print(f"page: {escape(str(path))}")
        if missing:
            console.print(
                f"[yellow]Warning:[/yellow] {missing} pictures are not at hand; "
                "set --image-root or --data-root"
            )


def _pairs(predictions: list[Path], records: list[Path]) -> list[Pair]:
    if len(predictions) != 2 * len(records):
        raise ComparisonError(
            f"{len(predictions)} prediction files for {len(records)} records files; expected two per records "
            "file: refkit compare A1 B1 A2 B2 --records R1 --records R2"
        )
    return [Pair(path, a, b) for path, a, b in zip(records, predictions[::2], predictions[1::2], strict=True)]
