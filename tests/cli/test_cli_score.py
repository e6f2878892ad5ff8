"""``refkit score`` and ``refkit config show`` through the command line."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from refkit.cli.main import app
from refkit.data.records import Header, ImageRef, Record, Target, read_records, write_records
from refkit.leaderboard.predictions import PredictionHeader, read_predictions, write_predictions
from refkit.structures import Prediction

runner = CliRunner()


@pytest.fixture
def files(tmp_path):
    """Four records of two kinds on two images, half of them hit, one without an answer."""
    records = [
        Record(
            f"r{index}",
            ImageRef(f"{index % 2}.jpg", 100, 100),
            "it",
            [Target(box=(10.0, 10.0, 50.0, 50.0))],
            facts={"kind": ("attribute", "relation")[index % 2]},
        )
        for index in range(4)
    ]
    header = write_records(tmp_path / "r.jsonl", Header("toy", "synthetic", "val"), records)
    right, wrong = np.array([[10.0, 10.0, 50.0, 50.0]]), np.array([[60.0, 60.0, 90.0, 90.0]])
    answers = [Prediction("r0", right), Prediction("r1", wrong), Prediction("r2", right)]
    write_predictions(tmp_path / "p.jsonl", PredictionHeader.answering(header, "half"), answers)
    return tmp_path / "r.jsonl", tmp_path / "p.jsonl"


def run(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})


def test_the_table(files):
    result = run("score", *files, "--by", "kind")
    assert result.exit_code == 0, result.stderr
    for part in (
        "half on toy.synthetic.val",
        "coverage 3/4",
        "50.00",
        "attribute",
        "relation",
        "rec/1: IoU of boxes",
    ):
        assert part in result.stdout, part


def test_names_and_numbers_are_whole_at_80_columns(files):
    """With baselines beside it the table needs more room than a terminal has."""
    header, records = read_records(files[0])
    kinds = [{"kind": f"a kind of some length, number {place % 2}"} for place in range(4)]
    records = [replace(one, facts=facts) for one, facts in zip(records, kinds, strict=True)]
    stored = write_records(files[0], replace(header, digest="", digest_masks=""), records)
    _, answers = read_predictions(files[1])
    answering = PredictionHeader.answering(stored, "a-method-with-a-name-of-some-length")
    write_predictions(files[1], answering, answers.values())
    arguments = ["score", *map(str, files), "--by", "kind", "--baselines", "--draws", "50"]
    result = runner.invoke(app, arguments, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.stderr
    assert "…" not in result.stdout
    columns = [re.split("[│┃]", line) for line in result.stdout.splitlines() if line[:1] in ("│", "┃")]
    names = "".join(one[2].replace(" ", "") for one in columns if len(one) > 4)
    assert "akindofsomelength,number0akindofsomelength,number1" in names
    assert "a-method-with-a-name-of-some-length on" in result.stdout
    assert "50.00 [0.0, 100.0]" in result.stdout


def test_json_on_stdout_and_in_a_file(files, tmp_path):
    printed = run("score", *files, "--json", "-", "--by", "kind", "--baselines")
    assert printed.exit_code == 0, printed.stderr
    fields = json.loads(printed.stdout)
    assert fields["metrics"]["acc50"]["value"] == 0.5
    assert fields["by"]["kind"]["attribute"]["acc50"]["value"] == 1.0
    assert fields["coverage"] == {"answered": 3, "expected": 4}
    assert list(fields["baselines"]) == ["centre box"]
    out = tmp_path / "result.json"
    assert run("score", *files, "--json", out, "--by", "kind", "--baselines").exit_code == 0
    assert out.read_text() == printed.stdout


def test_partial_and_per_sample(files, tmp_path):
    rows = tmp_path / "rows.jsonl"
    result = run(
        "score", *files, "--allow-partial", "--per-sample", rows, "--json", "-", "--draws", 50, "--seed", 3
    )
    assert result.exit_code == 0, result.stderr
    fields = json.loads(result.stdout)
    assert fields["partial"] is True
    assert fields["metrics"]["acc50"]["value"] == pytest.approx(2 / 3)
    assert (fields["interval"]["draws"], fields["interval"]["seed"]) == (50, 3)
    assert len(rows.read_text().splitlines()) == 4


def test_every_protocol_side_by_side(files, tmp_path):
    result = run("score", *files, "--protocol", "all", "--draws", 20)
    assert result.exit_code == 0, result.stderr
    for part in ("half on toy.synthetic.val", "coverage 3/4", "rec/1", "rec/transvg", "phrase/any", "50.00"):
        assert part in result.stdout, part
    printed = run("score", *files, "--protocol", "all", "--draws", 20, "--json", "-")
    fields = json.loads(printed.stdout)
    assert fields["results"]["rec/1"]["metrics"]["acc50"]["value"] == 0.5
    assert (
        run("score", *files, "--protocol", "all", "--draws", 20, "--json", tmp_path / "a.json").exit_code == 0
    )
    assert (tmp_path / "a.json").read_text() == printed.stdout
    refused = run("score", *files, "--protocol", "all", "--by", "kind")
    assert refused.exit_code == 2
    assert "--protocol all shows numbers side by side only" in refused.stderr


def test_an_unknown_protocol_is_one_message(files):
    result = run("score", *files, "--protocol", "rec/7")
    assert result.exit_code == 2
    assert "did you mean 'rec/1'" in result.stderr


def test_config_show_prints_a_config_that_loads_again(tmp_path):
    source = tmp_path / "small.py"
    source.write_text('model = dict(width=3, name="x")\ntrain_cfg = dict(max_epochs=2)\n')
    result = run("config", "show", source, "--cfg-options", "model.width=5")
    assert result.exit_code == 0, result.stderr
    values = {}
    exec(result.stdout, values)
    assert values["model"] == {"width": 5, "name": "x"}
    assert values["train_cfg"] == {"max_epochs": 2}


def test_config_show_names_the_nearest_key(tmp_path):
    source = tmp_path / "small.py"
    source.write_text("model = dict(width=3)\n")
    result = run("config", "show", source, "--cfg-options", "model.widht=5")
    assert result.exit_code == 2
    assert "width" in result.stderr
