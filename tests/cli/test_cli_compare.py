"""``refkit compare`` through the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from refkit.cli.main import app
from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.leaderboard.predictions import PredictionHeader, read_predictions, write_predictions
from refkit.structures import Prediction

runner = CliRunner()
BOX, FAR = np.array([[10.0, 10.0, 50.0, 50.0]]), np.array([[60.0, 60.0, 90.0, 90.0]])


@pytest.fixture
def files(tmp_path):
    """Two sets of six records; method a hits all, method b the first two."""
    paths = []
    for split in ("val", "test"):
        records = [
            Record(f"{split}{n}", ImageRef(f"{n}.jpg", 100, 100), "it", [Target(box=tuple(BOX[0].tolist()))])
            for n in range(6)
        ]
        header = write_records(tmp_path / f"{split}.jsonl", Header("toy", "synthetic", split), records)
        for name, hits in (("a", 6), ("b", 2)):
            answers = [Prediction(one.id, BOX if n < hits else FAR) for n, one in enumerate(records)]
            path = tmp_path / f"{split}.{name}.jsonl"
            write_predictions(path, PredictionHeader.answering(header, name), answers)
            paths.append(path)
    return paths, [tmp_path / "val.jsonl", tmp_path / "test.jsonl"]


def run(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})


def test_one_set_with_json_and_page(files, tmp_path):
    predictions, (records, _) = files
    out, page = tmp_path / "c.json", tmp_path / "page"
    result = run(
        "compare", *predictions[:2], "--records", records, "--json", out, "--page", page, "--draws", 100
    )
    assert result.exit_code == 0, result.stderr
    assert "4 only A, 0 only B" in result.stdout
    assert "4 pictures are not at hand" in result.stdout
    assert (page / "index.html").is_file()
    (found,) = json.loads(out.read_text())["comparisons"]
    assert found["metrics"]["acc50"]["mcnemar"] == {"only_a": 4, "only_b": 0, "p": 0.125}
    assert [one["id"] for one in found["changed"]["only_a"]] == ["val2", "val3", "val4", "val5"]


def test_warnings_of_both_scores_are_shown(files, tmp_path):
    """A file that answers nothing looks like a bad method where nobody says so."""
    (full, _, _, _), (records, _) = files
    empty, page, out = tmp_path / "empty.jsonl", tmp_path / "page", tmp_path / "c.json"
    header, answers = read_predictions(full)
    nothing = [Prediction(one, boxes=np.zeros((0, 4))) for one in list(answers)[1:]]
    write_predictions(empty, replace(header, model="m<b>"), nothing)
    result = run("compare", empty, full, "--records", records, "--page", page, "--json", out, "--draws", 10)
    assert result.exit_code == 0, result.stderr
    told = ["1 of 6 records have no prediction", "5 of 6 answers hold nothing that this protocol can use"]
    assert [part in result.stdout for part in (f"A (m<b>): {one}" for one in told)] == [True, True]
    assert "B (a)" not in result.stdout
    (found,) = json.loads(out.read_text())["comparisons"]
    assert [one.startswith(start) for one, start in zip(found["warnings"]["a"], told, strict=True)] == [
        True
    ] * 2
    assert found["warnings"]["b"] == []
    shown = (page / "index.html").read_text("utf-8")
    assert all(f"A (m&lt;b&gt;): {one}" in shown for one in told)
    worst = tmp_path / "worst"
    assert run("compare", empty, "--records", records, "--worst", 2, "--page", worst).exit_code == 0
    assert told[1] in (worst / "index.html").read_text("utf-8")


def test_two_sets_are_corrected(files):
    predictions, (first, second) = files
    result = run(
        "compare", *predictions, "--records", first, "--records", second, "--json", "-", "--draws", 50
    )
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["comparisons"]
    assert [one["metrics"]["acc50"]["p_holm"] for one in found] == [0.25, 0.25]


def test_files_that_do_not_pair_up(files):
    predictions, (records, _) = files
    result = run("compare", *predictions[:3], "--records", records)
    assert result.exit_code == 2
    assert "expected two per records file" in result.stderr.replace("\n", " ")
    alone = run("compare", predictions[0], "--records", records)
    assert alone.exit_code == 2
    assert "of one file alone --worst N --page FOLDER" in alone.stderr.replace("\n", " ")
