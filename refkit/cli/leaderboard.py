"""``refkit leaderboard``: entries from prediction files, their check, and the site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from refkit.cli.progress import track
from refkit.leaderboard.entries.schema import SETTINGS

app = typer.Typer(no_args_is_help=True, help="Compare methods: add, check and build a leaderboard.")

FOLDER = Path("model_zoo/leaderboard")
Folder = Annotated[
    Path, typer.Option("--folder", "-f", help="Folder of the entries; the default is the one of a checkout.")
]
Shelf = Annotated[
    list[Path] | None,
    typer.Option("--records", help="Folder or file of records, found by their digests. Repeatable."),
]
EXIT_DIFFERENT = 1
GROUPS = dict.fromkeys(name.partition("/")[0] for name in SETTINGS)


@app.command(epilog=f"Names for --setting: {', '.join(SETTINGS)}.")
def add(
    records: Annotated[Path, typer.Argument(help="Records that were answered.", show_default=False)],
    predictions: Annotated[Path, typer.Argument(help="Prediction file for them.", show_default=False)],
    method: Annotated[str, typer.Option(help="Name of the method.", show_default=False)],
    setting: Annotated[
        str,
        typer.Option(help=f"What it was trained on or is given: {', '.join(GROUPS)}; all names stand below."),
    ],
    protocol: Annotated[str, typer.Option(help="Id of the protocol.")] = "rec/1",
    folder: Folder = FOLDER,
    trained_on: Annotated[
        list[str] | None,
        typer.Option(help="Training records: a file, a name, or name@sha256:…. Repeatable."),
    ] = None,
    shelf: Shelf = None,
    overlap_images: Annotated[
        int | None, typer.Option(min=0, help="Evaluation images in training, where it cannot be computed.")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="What sets it apart from its namesakes.")] = None,
    name: Annotated[str | None, typer.Option(help="File name of the entry.")] = None,
    verified: Annotated[bool, typer.Option("--verified", help="A second party scored the file.")] = False,
    visual: Annotated[str | None, typer.Option(help="Visual backbone.")] = None,
    language: Annotated[str | None, typer.Option(help="Language backbone.")] = None,
    parameters: Annotated[float | None, typer.Option(help="Parameters in millions.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Resolution in pixels.")] = None,
    pretraining: Annotated[str | None, typer.Option(help="Pre-training data in words.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the paper.")] = None,
    venue: Annotated[str | None, typer.Option(help="Venue of the paper.")] = None,
    year: Annotated[int | None, typer.Option(help="Year of the paper.")] = None,
    url: Annotated[str | None, typer.Option(help="Address of the paper.")] = None,
    note: Annotated[list[str] | None, typer.Option(help="Remark for the page. Repeatable.")] = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="Add trivial predictors beside it.")] = False,
    draws: Annotated[int, typer.Option(min=0, help="Draws of the bootstrap; 10000 to publish.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
) -> None:
    """Score a prediction file and write the entry of its method; the file is copied beside it.

    Example: refkit leaderboard add refcoco.unc.val.jsonl val.predictions.jsonl --method "My method" --setting
    single_dataset --trained-on refcoco.unc.train --folder board
    """
    from refkit.leaderboard.entries.add import MethodCard, add_baselines, add_predictions
    from refkit.leaderboard.entries.overlap import training_set
    from refkit.leaderboard.entries.sources import RecordShelf

    named = [Path(text) for text in trained_on or () if Path(text).is_file()]
    card = MethodCard(
        method,
        setting,
        "verified" if verified else "reproduced",
        variant,
        paper={"title": title, "venue": venue, "year": year, "url": url},
        model={
            "visual": visual,
            "language": language,
            "parameters_m": parameters,
            "resolution": resolution,
        },
        trained_on=tuple(training_set(text) for text in trained_on or ()),
        pretraining=pretraining,
        declared_overlap=overlap_images,
        notes=tuple(note or ()),
        file_name=name,
    )
    search = RecordShelf([*(shelf or ()), *named])
    _report(*add_predictions(folder, records, predictions, card, protocol, search, draws, seed))
    if baselines:
        for path, result in add_baselines(folder, records, setting, protocol, draws, seed):
            _report(path, result)


def _report(path: Path, result: Any) -> None:
    first = next(iter(result.metrics))
    line = f"{result.records}, {result.protocol.id}: {first} {100 * result[first]:.2f}"
    console = Console(soft_wrap=True)
    console.print(f"[bold]{escape(str(path))}[/bold]  {escape(line)}", highlight=False)
    for warning in result.warnings:
        console.print(f"[yellow]Warning:[/yellow] {escape(warning)}", highlight=False)


@app.command()
def check(folder: Folder = FOLDER, records: Shelf = None) -> None:
    """Compute every number that came from a prediction file again; exit code 1 where one differs.

    Records of RefShapes are drawn again from their seed; others are looked for in --records.

    Example: refkit leaderboard check --folder board --records records
    """
    from refkit.leaderboard.entries.check import check_entries
    from refkit.leaderboard.entries.files import load_entries
    from refkit.leaderboard.entries.sources import RecordShelf

    entries = load_entries(folder)
    report = check_entries(folder, track(entries, len(entries), "check"), RecordShelf(records or ()))
    console = Console(soft_wrap=True, highlight=False)
    for place in report.equal:
        console.print(f"[green]equal[/green]         {escape(place)}")
    for place, why in report.not_computed:
        console.print(f"[yellow]not computed[/yellow]  {escape(place)}: {escape(why)}")
    for place, what in report.different:
        console.print(f"[red]different[/red]     {escape(place)}: {escape(what)}")
    console.print(
        f"{len(report.equal)} equal, {len(report.different)} different, "
        f"{len(report.not_computed)} not computed, "
        f"{report.reported} reported numbers of publications left alone"
    )
    if report.different:
        raise typer.Exit(EXIT_DIFFERENT)


@app.command()
def build(
    out: Annotated[Path, typer.Argument(help="Folder of the site.", show_default=False)],
    folder: Folder = FOLDER,
    records: Shelf = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Where pictures are for the gallery (default: REFKIT_DATA or data).")
    ] = None,
    title: Annotated[str, typer.Option(help="Title of the site.")] = "Leaderboard",
) -> None:
    """Write the site: plain files for any browser, from a folder or any static host.

    Example: refkit leaderboard build site --folder board --records records
    """
    from refkit.leaderboard.entries.sources import RecordShelf
    from refkit.leaderboard.site.build import build_site

    site = build_site(folder, out, RecordShelf(records or ()), data_root, title)
    Console(soft_wrap=True, highlight=False).print(
        f"[bold]{escape(str(site.index))}[/bold]: {site.entries} entries, {site.pages} pages, "
        f"{site.pictures} pictures"
    )


@app.command()
def seed(
    path: Annotated[Path, typer.Argument(help="Seed of published numbers (YAML).", show_default=False)],
    folder: Folder = FOLDER,
) -> None:
    """Write published numbers as 'reported' entries: not measured, never ranked, with their tables.

    Example: refkit leaderboard seed seed.yaml --folder board
    """
    from refkit.leaderboard.entries.seed import write_seed

    written = write_seed(path, folder)
    Console(soft_wrap=True, highlight=False).print(
        f"{len(written)} files below [bold]{escape(str(folder))}[/bold]"
    )
