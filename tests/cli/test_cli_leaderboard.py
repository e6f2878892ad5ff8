"""Help of ``refkit leaderboard``, ``score`` and ``predictions``: examples that work, and every setting named."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from refkit.cli.main import app, load_command
from refkit.leaderboard.entries.schema import SETTINGS

PAGE = Path(__file__).parents[2] / "docs" / "pages" / "leaderboard.md"
RUNNER, NARROW = CliRunner(), {"COLUMNS": "80"}


def commands():
    """Every command by the words that call it."""
    for group in ("leaderboard", "predictions"):
        for name, command in load_command(group).commands.items():
            yield f"{group} {name}", command
    for name in ("score", "compare"):
        yield name, load_command(name)


@pytest.mark.parametrize(("words", "command"), [pytest.param(*one, id=one[0]) for one in commands()])
def test_the_examples_are_calls_that_the_command_understands(words, command):
    examples = re.findall(r"^Example: refkit (.+)$", command.help, re.MULTILINE)
    assert examples
    for example in examples:
        assert example.startswith(f"{words} "), example
        context = command.make_context(words, shlex.split(example.removeprefix(f"{words} ")))
        assert context.params.get("setting", "single_dataset") in SETTINGS


def test_every_setting_stands_in_the_help_and_on_the_page():
    """Whole at 80 columns too, where the column of the options is too narrow for some."""
    page, shown = PAGE.read_text("utf-8"), RUNNER.invoke(app, ["leaderboard", "add", "--help"], env=NARROW)
    for setting in SETTINGS:
        assert re.search(rf"[ \n]{setting}[,.]", shown.stdout.partition("Names for --setting:")[2]), setting
        assert f"`{setting}`" in page, setting
