"""Help of ``refkit leaderboard``, ``score`` and ``predictions``: examples that work, and every setting named."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from refkit.cli.main import load_command
from refkit.leaderboard.entries.schema import SETTINGS

PAGE = Path(__file__).parents[2] / "docs" / "pages" / "leaderboard.md"


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
    (option,) = (one for one in load_command("leaderboard").commands["add"].params if one.name == "setting")
    page = PAGE.read_text("utf-8")
    for setting in SETTINGS:
        assert re.search(rf"[ ,]{setting}[,.]", option.help), setting
        assert f"`{setting}`" in page, setting
