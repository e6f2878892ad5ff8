"""``refkit data import SOURCE``: one command per source, with the options that the source declares."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from refkit.data.names import KNOWN_COUNTS
from refkit.data.records import Header, read_header
from refkit.data.sources import SOURCES, Option, SourceSpec, import_source


def make_app() -> typer.Typer:
    """The group of all sources."""
    app = typer.Typer(no_args_is_help=True, help="Read a public data set and write records.")
    for spec in SOURCES.values():
        example = f"Example: refkit data import {spec.name} {_sample(spec)}--out records/"
        app.command(spec.name, help=f"{spec.help}\n\n{example}")(_command(spec))
    return app


def _sample(spec: SourceSpec) -> str:
    required = "".join(
        f"--{option.name.replace('_', '-')} {option.choices[0] if option.choices else option.name.upper()} "
        for option in spec.options
        if option.required
    )
    return ("PATH " if _takes_paths(spec) else "") + required


def _takes_paths(spec: SourceSpec) -> bool:
    return spec.paths != "no path"


def _command(spec: SourceSpec) -> Callable[..., None]:
    """A function whose signature is made of the source's options, for Typer to read."""

    def run(**values: Any) -> None:
        paths, out = values.pop("paths", None) or [], values.pop("out")
        skip_invalid = values.pop("skip_invalid")
        given = {name: value for name, value in values.items() if value not in (None, [], ())}
        for path in import_source(spec.name, paths, out, skip_invalid=skip_invalid, **given):
            _report(path)

    parameters = [*_paths(spec), *_common(), *(_parameter(option) for option in spec.options)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _keyword(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)


def _paths(spec: SourceSpec) -> list[inspect.Parameter]:
    if not _takes_paths(spec):
        return []
    argument = typer.Argument(..., help=f"{spec.paths[0].upper()}{spec.paths[1:]}.", show_default=False)
    return [_keyword("paths", list[Path], argument)]


def _common() -> list[inspect.Parameter]:
    out = typer.Option(
        ..., "--out", "-o", help="Folder, or one .jsonl or .jsonl.gz file.", show_default=False
    )
    skip = typer.Option(False, "--skip-invalid", help="Leave bad entries out and count them, do not stop.")
    return [_keyword("out", Path, out), _keyword("skip_invalid", bool, skip)]


def _parameter(option: Option) -> inspect.Parameter:
    text = option.help + (f" One of: {', '.join(option.choices)}." if option.choices else "")
    kind: Any = list[str] if option.many else option.type
    default = ... if option.required else (None if option.many else option.default)
    if default is None and not option.many:
        kind = option.type | None
    if option.many:
        kind, text = list[str] | None, f"{text} Repeatable."
    return _keyword(option.name, kind, typer.Option(default, help=text, show_default=default is not None))


def _report(path: Path) -> None:
    """One line per file, with the published counts beside where the set is known."""
    header = read_header(path)
    line = f"[bold]{escape(str(path))}[/bold]: {header.records:,} records, {header.images:,} images"
    Console(soft_wrap=True).print(f"{line}{_known(header)}", highlight=False)
    for name in ("skipped_invalid", "left_out"):
        for reason, count in header.extra.get(name, {}).items():
            Console(soft_wrap=True).print(f"  {name.replace('_', ' ')}: {count:,} {escape(reason)}")


def _known(header: Header) -> str:
    published = KNOWN_COUNTS.get(header.name)
    if published is None:
        return ""
    pairs = [(published.expressions, header.records), (published.images, header.images)]
    if all(count in (None, found) for count, found in pairs):
        return " [green](as published)[/green]"
    stated = f"{published.expressions or '?'} records, {published.images or '?'} images"
    return f" [yellow](published: {stated})[/yellow]"
