"""``refkit doctor``: what is here, what is missing."""

from __future__ import annotations

import json as json_text
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from refkit.doctor import diagnose, is_healthy


def command(
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Report versions, hardware, caches, and what is missing for which feature.

    Leaves with exit code 1 where something is missing that refkit always needs.

    Example: refkit doctor --json
    """
    report = diagnose()
    if json:
        typer.echo(json_text.dumps(report, indent=2))
    else:
        _show(report, Console())
    if not is_healthy(report):
        raise typer.Exit(1)


def _show(report: dict[str, Any], console: Console) -> None:
    versions = f"refkit {report['refkit']} · Python {report['python']} · {report['platform']}"
    for line in (versions, *_machine_lines(report)):
        console.print(line, highlight=False)
    console.print(_package_table(report["packages"]))
    console.print(_feature_table(report["features"]))


def _machine_lines(report: dict[str, Any]) -> list[str]:
    accelerator, cpu, data = report["accelerator"], report["cpu"], report["data"]
    lines = [_accelerator_line(accelerator)]
    lines.append(f"CPU           {cpu['cores']} of {cpu['of']} cores usable, bfloat16 {_yes(cpu['bf16'])}")
    memory = report["memory_gib"]
    lines.append(f"Memory        {memory['available']} of {memory['total']} GiB available")
    lines.append(f"Java          {escape(report['java'] or 'none found (needed by METEOR only)')}")
    there = f"{len(data['records'])} records files" if data["exists"] else "not there"
    where = f"{escape(data['path'])} ({data['from']})"
    lines.append(f"Data          {where}: {there}, {data['free_gib']} GiB free")
    for cache in report["caches"]:
        size = "not there" if cache["gib"] is None else f"{cache['gib']} GiB"
        lines.append(f"Cache         {cache['name']}: {escape(cache['path'])}, {size}")
    if not report["packages"]:
        lines.append("[red]refkit itself is not installed: run `pip install -e .` in its folder[/red]")
    return lines


def _accelerator_line(accelerator: dict[str, Any]) -> str:
    if accelerator["error"]:
        return f"Accelerator   [red]torch cannot be used: {escape(accelerator['error'])}[/red]"
    names = ", ".join(f"{device['name']} ({device['memory_gib']} GiB)" for device in accelerator["devices"])
    alone = "none, the CPU is used" if accelerator["device"] == "cpu" else accelerator["device"]
    device = escape(names) or alone
    return f"Accelerator   {device}; torch {accelerator['torch']}, bfloat16 {_yes(accelerator['bf16'])}"


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[value]


def _package_table(packages: list[dict[str, Any]]) -> Table:
    table = Table(title="Packages", title_justify="left")
    for title in ("package", "installed", "minimum", "for", ""):
        table.add_column(title)
    for package in packages:
        mark = "[green]ok[/green]" if package["fits"] else "[red]too old or too new[/red]"
        if package["installed"] is None:
            mark = "absent" if package["extra"] else "[red]missing[/red]"
        versions = (package["installed"] or "-", package["minimum"] or "any")
        table.add_row(package["name"], *versions, package["extra"] or "refkit", mark)
    return table


def _feature_table(features: list[dict[str, Any]]) -> Table:
    table = Table(title="Features", title_justify="left")
    for title in ("feature", "", "what to do"):
        table.add_column(title)
    for feature in features:
        lacks = ", ".join(feature["missing"])
        mark = f"[red]lacks {lacks}[/red]" if lacks else "[green]ready[/green]"
        table.add_row(feature["name"], mark, escape(feature["remedy"]))
    return table
