"""The console command ``refkit``: finds the sub-command, loads it, and turns our errors into one clear
message.

Sub-commands are imported when they are called, so that ``refkit --help`` and ``refkit score`` never wait for
torch. A new sub-command is one line in `COMMANDS` and one module with a function ``command`` or a Typer
``app``.
"""

from __future__ import annotations

import errno
import importlib
import inspect
import os
import platform
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from refkit.version import __version__

COMMANDS = {
    "train": "Train a model from a config.",
    "test": "Evaluate a checkpoint on the test sets of its config.",
    "predict": "Answer every record of a file with a model; resumable.",
    "score": "Score a prediction file: metrics, intervals, breakdowns.",
    "compare": "Compare two methods: difference, interval, p value, changed samples.",
    "leaderboard": "Compare methods: add, check and build a leaderboard.",
    "predictions": "Bring answers in other formats into prediction files.",
    "ground": "Find what a sentence means in one picture.",
    "describe": "Say what is in regions of one picture.",
    "data": "Import, check, count, audit and show records.",
    "zoo": "List shipped models; turn released checkpoints into refkit models.",
    "config": "Show a config as it is after inheritance and overrides.",
    "doctor": "Report versions, hardware, caches, and what is missing for which feature.",
}
"""Sub-commands with their line of ``refkit --help``; each lives in ``refkit.cli.<name>``."""

EXIT_ERROR = 2
EXIT_INTERRUPT = 130


class LazyGroup(TyperGroup):
    """`TyperGroup` that knows its sub-commands by name and help line, and imports one only to run it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name, line in COMMANDS.items():
            self.add_command(TyperCommand(name, help=line), name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command instead of the line that stands for it."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is None or command is None:
            return name, command, rest
        return name, load_command(name), rest

    def invoke(self, ctx: Any) -> Any:
        """Run the sub-command; an error that the user can mend becomes a message and exit code 2."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _complain("interrupted")
            raise typer.Exit(EXIT_INTERRUPT) from None
        except Exception as error:
            if ctx.params.get("debug") or not is_users_concern(error):
                raise
            _complain(str(error))
            raise typer.Exit(EXIT_ERROR) from error


def load_command(name: str) -> Any:
    """Import ``refkit.cli.<name>`` and turn its ``app`` or ``command`` into something that can be run."""
    module = importlib.import_module(f"refkit.cli.{name}")
    if hasattr(module, "app"):
        group = typer.main.get_group(module.app)
        group.name = name
        return _with_flowing_help(group)
    single = typer.Typer(add_completion=False)
    single.command(name, help=module.command.__doc__)(module.command)
    return _with_flowing_help(typer.main.get_command(single))


def _with_flowing_help(command: Any) -> Any:
    """The lines of a paragraph become one, which the terminal breaks at its own width."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for inner in getattr(command, "commands", {}).values():
        _with_flowing_help(inner)
    return command


def is_users_concern(error: Exception) -> bool:
    """Whether the message of an error is enough: an error of refkit's own, or a file that cannot be used."""
    if isinstance(error, OSError):
        return error.errno != errno.EPIPE
    ours = type(error).__module__.partition(".")[0] == "refkit"
    return ours and isinstance(error, ValueError | RuntimeError | ImportError)


def _complain(message: str) -> None:
    Console(stderr=True, soft_wrap=True).print(
        f"[bold red]refkit:[/bold red] {escape(message)}", highlight=False
    )


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"refkit {__version__} (Python {platform.python_version()})")
        raise typer.Exit


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def refkit(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and leave.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """One toolkit for referring: sentence to region, region to words."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``refkit`` and leave with its exit code.

    Args:
        arguments: the command line without the program's name, by default that of the process.
    """
    try:
        typer.main.get_command(app).main(args=arguments, prog_name="refkit")
    finally:
        _close_quietly()


def _close_quietly() -> None:
    """Flush now: a reader that went away (``refkit … | head``) is no error of ours."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
