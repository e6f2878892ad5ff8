"""Examples in ``--help`` work as they stand: their options exist, as do the models and configs that they name."""

from __future__ import annotations

import re
import shlex

import pytest
from typer.testing import CliRunner

from refkit.cli.main import app, load_command
from refkit.engine.config import find_config
from refkit.inference.source import locate_model

COMMANDS = ("ground", "describe", "test", "config show", "doctor", "predict", "train")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_a_command_can_be_run(name):
    result = CliRunner().invoke(app, [*name.split(), "--help"])
    paragraphs = re.split(r"\n\s*\n", result.stdout)
    examples = [" ".join(text.split()) for text in paragraphs if text.strip().startswith("Example:")]
    assert result.exit_code == 0 and examples, result.output
    words = shlex.split(examples[0].removeprefix("Example: "))
    assert words[: 1 + len(name.split())] == ["refkit", *name.split()]
    first, *others = name.split()
    command = load_command(first)
    for part in others:
        command = command.commands[part]
    given = command.make_context(name, words[2 + len(others) :]).params
    if model := given.get("model"):
        assert locate_model(model).weights.is_file()
    if config := given.get("config"):
        assert find_config(config).is_file()
