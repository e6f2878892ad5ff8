"""``refkit predictions``: answers in other formats become prediction files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from refkit.leaderboard.box_spaces import BOX_SPACES
from refkit.leaderboard.readers.convert import FORMATS, import_predictions
from refkit.leaderboard.readers.matching import WAYS

app = typer.Typer(no_args_is_help=True, help="Bring answers in other formats into prediction files.")


@app.callback()
def predictions() -> None:
    """Bring answers in other formats into prediction files."""


@app.command("import")
def import_(
    kind: Annotated[str, typer.Option("--format", help=f"One of: {', '.join(FORMATS)}.", show_default=False)],
    source: Annotated[Path, typer.Option("--in", help="The foreign file.", show_default=False)],
    records: Annotated[Path, typer.Option(help="Records that it answers.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Prediction file to write.", show_default=False)],
    space: Annotated[
        str, typer.Option(help=f"Space of its boxes: {', '.join(BOX_SPACES)}.", show_default=False)
    ],
    model: Annotated[str, typer.Option(help="Name of the method.")] = "imported",
    match: Annotated[
        str | None,
        typer.Option(help=f"How rows name their record: {', '.join(WAYS)} (default: usual for the format)."),
    ] = None,
    input_size: Annotated[
        tuple[float, float] | None, typer.Option(help="Width and height of the network input (xyxy-input).")
    ] = None,
    skip_unmatched: Annotated[
        bool, typer.Option("--skip-unmatched", help="Leave rows that answer no record out and count them.")
    ] = False,
    last_box: Annotated[
        bool, typer.Option("--last-box", help="Of several boxes without scores the last is the answer.")
    ] = False,
) -> None:
    """Write a foreign file as refkit.predictions/1, its boxes in pixels of the original images.

    The coordinate space is declared, never guessed. Answers that cannot be read are kept as they are and
    counted.

    Example: refkit predictions import --format coco --in answers.json --records refcoco.unc.val.jsonl --out
    val.predictions.jsonl --space xywh-pixel
    """
    report = import_predictions(
        kind, source, records, out, space, model, match, input_size, skip_unmatched, last_box
    )
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"[bold]{escape(str(out))}[/bold]: {report.written:,} of {report.records:,} records answered"
    )
    if report.unparsable:
        places = escape(", ".join(report.examples))
        console.print(f"  {report.unparsable:,} answers could not be read and count as invalid: {places}")
    if report.unmatched:
        console.print(f"  {report.unmatched:,} rows match no record and were left out")
    if report.warning:
        console.print(f"[yellow]Warning:[/yellow] {escape(report.warning)}")
