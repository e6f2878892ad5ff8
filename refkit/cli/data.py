"""``refkit data``: import, check, count, audit, show and parse records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from refkit.cli import data_import
from refkit.cli.options import DataRoot, ImageRoot
from refkit.cli.progress import track
from refkit.data.audit import AuditReport, audit
from refkit.data.check import CheckReport, check_file
from refkit.data.files import image_folder
from refkit.data.image_sets import ImageSet, load_side
from refkit.data.look_alikes import DEFAULT_DISTANCE, HashReport, compare_hashes
from refkit.data.records import read_header
from refkit.data.stats import Stats, stats_of_file

_PLACES = 5
EXIT_FOUND = 1
"""Exit code when a file was read and something is wrong with it (2: it could not be read)."""

app = typer.Typer(no_args_is_help=True, help="Import, check, count, audit, show and parse records.")
app.add_typer(data_import.make_app(), name="import")

Files = Annotated[list[Path], typer.Argument(help="Records files (.jsonl or .jsonl.gz).", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@app.command("check")
def check_command(
    files: Files,
    images: Annotated[bool, typer.Option(help="Open every picture and compare its size.")] = True,
    image_root: ImageRoot = None,
    data_root: DataRoot = None,
    as_json: Json = False,
) -> None:
    """List every problem of records and pictures, with its line and what to do.

    Leaves with 0 when nothing is wrong (warnings allowed), 1 when something is, 2 when a file cannot be read.

    Example: refkit data check records/refcoco.unc.val.jsonl --no-images
    """
    reports = [check_file(path, image_root, data_root, images, track) for path in files]
    if as_json:
        _print_json([report.to_json() for report in reports])
    for report in () if as_json else reports:
        _print_check(report, images)
    raise typer.Exit(0 if all(report.ok for report in reports) else EXIT_FOUND)


@app.command("stats")
def stats_command(files: Files, as_json: Json = False) -> None:
    """Counts, expression lengths, sizes, categories; published counts are compared where the set is known.

    Leaves with 1 when a published count is contradicted.

    Example: refkit data stats records/refcoco.unc.*.jsonl
    """
    found = [stats_of_file(path) for path in track(files, len(files), "reading")]
    if as_json:
        _print_json([stats.to_json() for stats in found])
    for stats in () if as_json else found:
        _print_stats(stats)
    raise typer.Exit(0 if all(stats.ok for stats in found) else EXIT_FOUND)


@app.command("audit")
def audit_command(
    train: Annotated[
        str,
        typer.Argument(
            help="Records file, or image lists: lists.json.gz:refcoco.unc.train+refcocog.umd.train",
            show_default=False,
        ),
    ],
    evaluation: Annotated[
        list[str], typer.Argument(metavar="EVAL...", help="The same, one or several.", show_default=False)
    ],
    also_train: Annotated[list[str] | None, typer.Option(help="A further training set. Repeatable.")] = None,
    hashes: Annotated[bool, typer.Option(help="Compare pictures by perceptual hash, where they are.")] = True,
    distance: Annotated[
        int, typer.Option(min=0, max=32, help="Bits of 64 by which equal pictures may differ.")
    ] = DEFAULT_DISTANCE,
    data_root: DataRoot = None,
    as_json: Json = False,
) -> None:
    """Count the evaluation pictures, and expressions on them, that training has seen.

    Pictures are compared by number within one collection and, where both sides have them, by content.

    Example: refkit data audit train.jsonl records/refcoco.unc.val.jsonl records/refcoco.unc.testA.jsonl
    """
    train_sides = [side for text in (train, *(also_train or ())) for side in load_side(text)]
    evaluation_sides = [
        side for text in track(evaluation, len(evaluation), "reading") for side in load_side(text)
    ]
    report = audit(train_sides, evaluation_sides)
    if hashes:
        sides = (_with_folders(train_sides, data_root), _with_folders(evaluation_sides, data_root))
        report.hashes = compare_hashes(*sides, distance, track)
    if as_json:
        _print_json(report.to_json())
    else:
        _print_audit(report)


@app.command("show")
def show_command(
    file: Annotated[Path, typer.Argument(help="Records file (.jsonl or .jsonl.gz).", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help=".png or .jpg (contact sheet), or .html.")] = Path(
        "records.png"
    ),
    count: Annotated[int, typer.Option(min=1, help="Records, drawn at random.")] = 12,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    identity: Annotated[list[str] | None, typer.Option("--id", help="Show this record. Repeatable.")] = None,
    columns: Annotated[int, typer.Option(min=1, help="Tiles per row.")] = 4,
    width: Annotated[int, typer.Option(min=64, help="Width of a tile in pixels.")] = 320,
    image_root: ImageRoot = None,
    data_root: DataRoot = None,
) -> None:
    """Draw records on their pictures: a contact sheet, or a web page without outside references.

    Example: refkit data show records/refcoco.unc.val.jsonl --count 24 --out val.html
    """
    from refkit.data.show import show

    folder = image_folder(read_header(file).image_root, image_root, data_root)
    written = show(file, out, folder, count, seed, identity or (), width, columns, track)
    typer.echo(written)


@app.command("parse")
def parse_command(
    file: Annotated[Path, typer.Argument(help="Records file (.jsonl or .jsonl.gz).", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Records file to write.", show_default=False)],
    parser: Annotated[str, typer.Option(help="rules, or spacy with en_core_web_md as released.")] = "rules",
) -> None:
    """Store subject and object of every expression: the words that Mask Referring Modeling hides first.

    They are written as facts["roles"]; records, their ids and digests of the evaluation stay what they are.

    Example: refkit data parse records/refcoco.unc.train.jsonl --out records/refcoco.unc.train.parsed.jsonl
    """
    from refkit.data.roles import write_roles

    counts = write_roles(file, out, parser, track)
    typer.echo(f"{out}: {counts.records:,} records, {counts.subjects:,} subjects, {counts.objects:,} objects")


def _with_folders(sides: list[ImageSet], data_root: Path | None) -> list[tuple[ImageSet, Path | None]]:
    return [(side, image_folder(side.image_root, root=data_root) if side.files else None) for side in sides]


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


def _print_check(report: CheckReport, images: bool) -> None:
    console = Console(soft_wrap=True, highlight=False)
    for problem, lines in report.folded():
        style = "red" if problem.severity == "error" else "yellow"
        console.print(f"{escape(report.path)}:{escape(str(problem))}{_others(lines)}", style=style)
    errors = sum(problem.severity == "error" for problem in report.problems)
    pictures = f", {report.images_read:,} pictures read" if images else ", pictures not opened"
    outcome = (
        f"{errors:,} errors, {len(report.problems) - errors:,} warnings" if report.problems else "no problem"
    )
    console.print(
        f"[bold]{escape(report.name or report.path)}[/bold]: {report.records:,} records, "
        f"{report.images:,} images{pictures}: {outcome}"
    )


def _others(lines: list[int]) -> str:
    """How often a warning occurs, with the first other places; nothing for one that stands alone."""
    places = list(dict.fromkeys(lines))
    if len(places) == 1:
        return ""
    first = ", ".join(map(str, places[1:_PLACES]))
    return f" ({len(lines):,} such warnings, also on line {first}{' …' if len(places) > _PLACES else ''})"


def _print_stats(stats: Stats) -> None:
    console = Console(highlight=False)
    table = Table(title=escape(stats.name), show_header=False, title_justify="left")
    for what in ("expressions", "objects", "images", "no_target", "several_targets", "masks"):
        table.add_row(what.replace("_", " "), f"{getattr(stats, what):,}")
    table.add_row("repeated texts of one object", f"{stats.repeated_texts:,}")
    table.add_row("expressions that name several boxes", f"{stats.ambiguous_texts:,}")
    words = ", ".join(f"{name} {value:.4g}" for name, value in stats.words.items())
    table.add_row("words per expression", words)
    table.add_row("share by words", _shares(stats.word_shares))
    table.add_row("share by square root of area", _shares(stats.size_shares))
    table.add_row("mean share of the image", f"{stats.relative_area:.1%}")
    table.add_row("smallest and largest image", ", ".join(stats.image_sizes))
    top = list(stats.categories.items())[:8]
    table.add_row(f"categories ({len(stats.categories)})", escape(", ".join(f"{k} {n:,}" for k, n in top)))
    console.print(table)
    console.print(f"  digest: {stats.digest}", soft_wrap=True)
    for count in stats.known:
        mark = "[green]as published[/green]" if count.ok else f"[red]published {count.published:,}[/red]"
        console.print(f"  {count.what}: {count.found:,} {mark}")


def _shares(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {share:.1%}" for name, share in shares.items())


def _print_audit(report: AuditReport) -> None:
    console = Console(highlight=False)
    table = Table(title=f"Trained on {escape(' + '.join(report.train))}", title_justify="left")
    table.add_column("evaluated on", overflow="fold")
    for heading in ("images", "in training", "expressions", "on training images"):
        table.add_column(heading, justify="right")
    for name, overlap in report.evaluation.items():
        expressions = _share(overlap.expressions_on_training_images, overlap.expressions)
        table.add_row(
            escape(name),
            f"{overlap.images:,}",
            _share(overlap.images_in_training, overlap.images),
            "-" if overlap.expressions is None else f"{overlap.expressions:,}",
            expressions,
        )
    console.print(table)
    console.print(
        f"{report.train_images:,} training images, {report.train_images_that_are_evaluation_images:,} of "
        f"them evaluated on, {report.train_images_left:,} left without these"
    )
    if report.hashes:
        _print_hashes(console, report.hashes)


def _share(part: int | None, whole: int | None) -> str:
    if part is None or whole is None:
        return "-"
    return f"{part:,} ({part / whole:.1%})" if whole else "0"


def _print_hashes(console: Console, hashes: HashReport) -> None:
    for name, counts in (("training", hashes.train), ("evaluation", hashes.evaluation)):
        console.print(
            f"{name} pictures compared by content: {counts['hashed']:,}; without picture "
            f"{counts['without_picture']:,}, unreadable {counts['unreadable']:,}"
        )
    new = [pair for pair in hashes.pairs if not pair.same_number]
    console.print(
        f"{len(hashes.pairs):,} pairs look alike (at most {hashes.distance} of 64 bits differ), "
        f"{len(new):,} of them under different numbers",
        soft_wrap=True,
    )
    for pair in new:
        console.print(
            f"  {escape(pair.train)} = {escape(pair.evaluation)} ({pair.distance} bits)", soft_wrap=True
        )
