"""The console command: quick to start, errors without traceback, every sub-command reachable."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from refkit.cli import main as cli
from refkit.cli.main import COMMANDS, app, is_users_concern, load_command
from refkit.leaderboard.predictions import PredictionError
from refkit.version import __version__

runner = CliRunner()
HEAVY = ("torch", "mmengine", "transformers", "torchvision", "numpy", "scipy", "matplotlib", "PIL")


def refkit(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "refkit", *map(str, arguments)], capture_output=True, text=True, **options
    )


def test_help_names_every_command_and_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from refkit.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "loaded: []" in done.stdout
    for name in COMMANDS:
        assert f" {name} " in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_loaded_and_explains_itself(name):
    assert importlib.util.find_spec(f"refkit.cli.{name}") is not None
    result = runner.invoke(app, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"refkit {name}" in result.output or f" {name} " in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_typed_for_typer(name):
    module = importlib.import_module(f"refkit.cli.{name}")
    if hasattr(module, "app"):
        assert isinstance(module.app, typer.Typer)
        assert len(load_command(name).commands) >= 1
    else:
        assert inspect.getdoc(module.command)
        assert load_command(name).params


def test_version():
    result = runner.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith(f"refkit {__version__} (Python 3.")


def test_a_misspelt_command_suggests_the_right_one():
    done = refkit("scroe")
    assert done.returncode == 2
    assert "Did you mean 'score'" in done.stderr


def test_no_command_shows_the_help():
    done = refkit()
    assert done.returncode == 2
    assert "doctor" in done.stdout + done.stderr


def test_our_errors_are_one_message(tmp_path):
    done = refkit("score", tmp_path / "r.jsonl", tmp_path / "p.jsonl")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("refkit: ")
    assert "p.jsonl: no such file" in done.stderr


def test_debug_shows_the_traceback(tmp_path):
    done = refkit("--debug", "score", tmp_path / "r.jsonl", tmp_path / "p.jsonl")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "PredictionError" in done.stderr


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (PredictionError("broken"), True),
        (FileNotFoundError(2, "No such file", "x"), True),
        (PermissionError(13, "Permission denied", "x"), True),
        (BrokenPipeError(32, "Broken pipe"), False),
        (ValueError("of somebody else: a bug, so the traceback is wanted"), False),
        (KeyError("bug"), False),
    ],
)
def test_which_errors_are_the_users_concern(error, ours):
    assert is_users_concern(error) is ours


def raised_by_score(monkeypatch, error):
    """What ``refkit score`` makes of an error that comes from inside."""

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("refkit.cli.score.score", fail)
    return runner.invoke(app, ["score", "r", "p"])


def test_an_interrupt_is_quiet(monkeypatch):
    result = raised_by_score(monkeypatch, KeyboardInterrupt())
    assert result.exit_code == cli.EXIT_INTERRUPT == 130
    assert "interrupted" in result.stderr


def test_a_message_with_brackets_is_printed_as_it_is(monkeypatch):
    result = raised_by_score(monkeypatch, PredictionError("found [red]x[/red]", "boxes[0]", "p.jsonl", 3))
    assert result.exit_code == 2
    assert result.stderr == "refkit: p.jsonl:3: boxes[0]: found [red]x[/red]\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
    result = raised_by_score(monkeypatch, ZeroDivisionError("bug"))
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_a_reader_that_goes_away_is_no_error(option):
    process = subprocess.Popen(
        [sys.executable, "-m", "refkit", option], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(timeout=60)


def test_paragraphs_of_help_are_broken_by_the_terminal_only():
    help_text = load_command("predictions").commands["import"].help
    assert "Answers that cannot be read are kept as they are and counted." in help_text.split("\n\n")[1]
    assert all("\n" not in paragraph for paragraph in help_text.split("\n\n"))
