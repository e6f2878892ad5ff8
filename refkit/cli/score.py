"""``refkit score``: a prediction file against a records file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from refkit.data.files import atomic_write
from refkit.doctor import usable_cores
from refkit.leaderboard.baselines import score_baselines
from refkit.leaderboard.breakdowns.analysis import ALL
from refkit.leaderboard.report import render, to_json
from refkit.leaderboard.scoring import DRAWS, ScoringError, score
from refkit.leaderboard.side_by_side import all_to_json, render_all, score_all
from refkit.metrics.protocol import get_protocol


def command(
    records: Annotated[Path, typer.Argument(help="Records file (.jsonl or .jsonl.gz).", show_default=False)],
    predictions: Annotated[Path, typer.Argument(help="Prediction file for it.", show_default=False)],
    protocol: Annotated[
        str, typer.Option(help="Id of the protocol; 'all' puts every protocol that fits side by side.")
    ] = "rec/1",
    json: Annotated[
        Path | None,
        typer.Option("--json", help="Write the result as JSON; '-' prints it instead of the table."),
    ] = None,
    per_sample: Annotated[Path | None, typer.Option(help="Write one line per record.")] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Break down by this only: 'length', 'category', … or a fact of the records ('kind'). "
            "Repeatable; by default all breakdowns that the records allow, 'none' for none."
        ),
    ] = None,
    objects: Annotated[
        Path | None,
        typer.Option(
            help="All annotated objects of the pictures (COCO instances.json): what wrong boxes hit, and "
            "how many others of the class there are."
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Score trivial predictors on the same records beside.")
    ] = False,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Leave missing answers out. Not a score of the set.")
    ] = False,
    draws: Annotated[
        int, typer.Option(min=0, help="Draws of the image bootstrap; 10000 to publish.")
    ] = DRAWS,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap and of the baseline 'random object'.")] = 0,
) -> None:
    """Score a prediction file: metrics, intervals, breakdowns.

    Missing answers count as wrong; unknown ids, double ids and predictions for other records are errors.

    Example: refkit score refcoco.unc.val.jsonl val.predictions.jsonl --baselines --json val.json

    Example: refkit score refcoco.unc.val.jsonl val.predictions.jsonl --protocol all
    """
    if protocol == ALL:
        if by or baselines or objects or per_sample:
            raise ScoringError(
                "--protocol all shows numbers side by side only; "
                "--by, --objects, --baselines and --per-sample need the id of one protocol"
            )
        _score_all(records, predictions, json, {"allow_partial": allow_partial, "draws": draws, "seed": seed})
        return
    groups = [] if by == ["none"] else by or [ALL]
    options: dict[str, Any] = {"by": groups, "draws": draws, "seed": seed, "objects": objects}
    processes = min(2, usable_cores())
    result = score(
        records, predictions, protocol, allow_partial=allow_partial, processes=processes, **options
    )
    beside = score_baselines(records, protocol, **options) if baselines else {}
    if per_sample is not None:
        result.per_sample.write(per_sample, result)
    if _hand_out(to_json(result, beside), json):
        return
    console = Console()
    console.print(render(result, beside))
    text = " ".join(get_protocol(protocol).text.split())
    console.print(text, style="dim", highlight=False, markup=False)


def _score_all(records: Path, predictions: Path, json: Path | None, options: dict[str, Any]) -> None:
    scored = score_all(records, predictions, **options)
    if not _hand_out(all_to_json(scored), json):
        Console().print(render_all(scored))


def _hand_out(text: str, json: Path | None) -> bool:
    """Write or print the JSON text; whether it was printed in place of a table."""
    if json == Path("-"):
        typer.echo(text, nl=False)
        return True
    if json is not None:
        atomic_write(json, text)
    return False
