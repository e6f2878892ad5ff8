"""``refkit predict``: whole, in shards, after an interruption, and with a page of pictures."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from tiny_describer import save_tiny_describer
from tiny_grounder import json_lines, save_tiny_model, write_tiny_records
from typer.testing import CliRunner

from refkit import rle
from refkit.cli.main import app
from refkit.data.records import Header, ImageRef, Record, RecordFile, Target, write_records
from refkit.inference.drawing import PREDICTED, TRUE
from refkit.inference.page import draw_prediction_page
from refkit.leaderboard.predictions import PredictionHeader, read_predictions, write_predictions
from refkit.leaderboard.scoring import score
from refkit.structures import Prediction

COUNT = 7


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_tiny_records(tmp_path_factory.mktemp("records"), COUNT)


@pytest.fixture
def run(weights, records):
    def run(*arguments, model=weights):
        chosen = ["--model", str(model)] if model else []
        given = ["predict", str(records), "--data-root", str(records.parent), *chosen]
        return CliRunner().invoke(app, [*given, *map(str, arguments)])

    return run


@pytest.fixture(scope="module")
def whole(weights, records, tmp_path_factory):
    """Predictions made in one go, one record at a time."""
    out = tmp_path_factory.mktemp("whole") / "x.predictions.jsonl"
    given = [
        "predict",
        records,
        "--data-root",
        records.parent,
        "--model",
        weights,
        "--out",
        out,
        "--batch-size",
        "1",
    ]
    assert CliRunner().invoke(app, list(map(str, given))).exit_code == 0
    return out


def ids(path):
    return [line["id"] for line in json_lines(path)[1:]]


def test_the_file_names_model_records_and_settings_and_can_be_scored(whole, records):
    header = json_lines(whole)[0]
    assert (header["records"], header["model"], header["box"]) == (
        "refshapes.refkit.val",
        "tiny",
        "xyxy-pixel",
    )
    assert header["settings"]["precision"] == "float32"
    assert header["checkpoint"].startswith("sha256:")
    assert ids(whole) == [f"tiny.{index}" for index in range(COUNT)]
    assert score(records, whole).answered == COUNT


def test_shards_merged_are_the_whole(run, whole, tmp_path):
    out = tmp_path / "x.predictions.jsonl"
    for shard in ("1/3", "0/3", "2/3"):
        result = run("--out", out, "--shard", shard, "--batch-size", 1)
        assert result.exit_code == 0, result.stderr
    assert ids(tmp_path / "x.shard-1-of-3.predictions.jsonl") == ["tiny.1", "tiny.4"]
    assert not out.exists()
    merged = run("--out", out, "--merge", model=None)
    assert merged.exit_code == 0, merged.stderr
    assert merged.stdout.strip() == str(out)
    assert json_lines(out) == json_lines(whole)


def test_a_missing_or_foreign_shard_stops_the_merge(run, tmp_path, weights):
    out = tmp_path / "x.predictions.jsonl"
    assert "no shards found" in run("--out", out, "--merge", model=None).stderr
    run("--out", out, "--shard", "0/2")
    assert "shard 1 of 2 is not finished" in run("--out", out, "--merge", model=None).stderr
    run("--out", out, "--shard", "1/2", "--precision", "bfloat16")
    assert (
        "shard 1 was made by another model, with other settings"
        in run("--out", out, "--merge", model=None).stderr
    )
    run("--out", out, "--shard", "1/3")
    assert "shards of different divisions (2, 3)" in run("--out", out, "--merge", model=None).stderr
    assert not out.exists()


def test_a_killed_run_continues_where_it_stopped(run, whole, records, weights, tmp_path):
    out = tmp_path / "x.predictions.jsonl"
    partial = tmp_path / "x.predictions.jsonl.partial"
    # One slow record after the other: the child sleeps before each, so that it can be killed in between.
    code = (
        "import sys, time\n"
        "from refkit.data.dataset import ReferringDataset\n"
        "from refkit.cli.main import main\n"
        "load = ReferringDataset.load\n"
        "def slowly(self, index):\n    time.sleep(0.2)\n    return load(self, index)\n"
        "ReferringDataset.load = slowly\n"
        "main(sys.argv[1:])\n"
    )
    given = [
        "predict",
        records,
        "--data-root",
        records.parent,
        "--model",
        weights,
        "--out",
        out,
        "--batch-size",
        "1",
    ]
    child = subprocess.Popen([sys.executable, "-c", code, *map(str, given)])
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.read_bytes().count(b"\n") >= 3):
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    done = partial.read_bytes().count(b"\n") - 1
    assert 2 <= done < COUNT
    partial.write_bytes(
        partial.read_bytes() + b'{"id": "tiny.6", "bo'
    )  # as if killed in the middle of a line

    refused = run("--out", out, "--batch-size", 1)
    assert refused.exit_code == 2
    assert "continue it with --resume, or delete the file" in refused.stderr.replace("\n", " ")
    assert not out.exists()

    resumed = run("--out", out, "--batch-size", 1, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert json_lines(out) == json_lines(whole)
    assert not partial.exists()

    before = out.stat().st_mtime_ns
    assert run("--out", out, "--batch-size", 1, "--resume").exit_code == 0
    assert out.stat().st_mtime_ns == before  # complete: nothing was done again


def test_a_partial_file_of_other_settings_is_not_continued(run, tmp_path, whole):
    partial = tmp_path / "x.predictions.jsonl.partial"
    partial.write_text("".join(whole.read_text().splitlines(keepends=True)[:3]))
    result = run("--out", tmp_path / "x.predictions.jsonl", "--resume", "--precision", "bfloat16")
    assert result.exit_code == 2
    assert "settings" in result.stderr
    assert partial.read_text().count("\n") == 3


def test_a_run_that_failed_before_its_first_answer_is_no_obstacle(run, tmp_path):
    out = tmp_path / "x.predictions.jsonl"
    assert run("--out", out, "--image-root", "/nowhere").exit_code == 2
    assert (tmp_path / "x.predictions.jsonl.partial").exists()
    assert run("--out", out).exit_code == 0
    assert ids(out) == [f"tiny.{index}" for index in range(COUNT)]


def test_limit_workers_and_page(run, tmp_path):
    out, page = tmp_path / "x.predictions.jsonl", tmp_path / "page.png"
    result = run("--out", out, "--limit", 3, "--workers", 1, "--page", page, "--page-count", 2)
    assert result.exit_code == 0, result.stderr
    assert ids(out) == ["tiny.0", "tiny.1", "tiny.2"]
    with Image.open(page) as drawn:
        assert drawn.width > 2 * 280


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shard", "2/2"), "expected INDEX/COUNT with INDEX from 0 to COUNT - 1"),
        (("--shard", "first"), "such as 0/2"),
        (("--image-root", "/nowhere"), "is not below /nowhere"),
        (("--batch-size", "0"), "--batch-size"),
    ],
)
def test_wrong_arguments_are_named(run, tmp_path, arguments, message):
    result = run("--out", tmp_path / "x.predictions.jsonl", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "x.predictions.jsonl").exists()


def test_a_model_is_needed_and_the_ending_matters(run, tmp_path):
    assert "name the model that answers" in run("--out", tmp_path / "x.jsonl", model=None).stderr
    assert "expected a name that ends in .predictions.jsonl" in run("--out", tmp_path / "x.json").stderr


def test_a_record_without_expression_is_refused(run, weights, tmp_path):
    path = tmp_path / "r.jsonl"
    record = Record("c.1", ImageRef("0.png", 40, 60), None, references=["a dog"])
    write_records(path, Header("refshapes", "refkit", "val", task=["caption"]), [record])
    given = ["predict", path, "--model", weights, "--out", tmp_path / "x.predictions.jsonl"]
    result = CliRunner().invoke(app, list(map(str, given)))
    assert result.exit_code == 2
    assert "record 'c.1' has no expression" in result.stderr


def test_the_page_shows_masks_of_records_and_of_predictions(tmp_path):
    left, right = np.zeros((60, 80), bool), np.zeros((60, 80), bool)
    left[:, :40], right[:, 40:] = True, True
    Image.new("RGB", (80, 60), (128, 128, 128)).save(tmp_path / "grey.png")
    record = Record("a", ImageRef("grey.png", 80, 60), "left", [Target(mask=rle.encode(left))])
    header = write_records(tmp_path / "r.jsonl", Header("made", "test", "val", task=["res"]), [record])
    answer = Prediction("a", mask=rle.encode(right))
    write_predictions(tmp_path / "p.jsonl", PredictionHeader.answering(header, "m"), [answer])
    records = RecordFile(tmp_path / "r.jsonl")
    page = draw_prediction_page(records, tmp_path / "p.jsonl", tmp_path / "page.png", image_root=tmp_path)
    pixels = np.asarray(Image.open(page).convert("RGB"))[110:280, 8:288]
    outlines = [np.nonzero((pixels == ink).all(axis=-1))[1] for ink in (TRUE, PREDICTED)]
    assert outlines[0].max() < 140 <= outlines[1].min()
    assert len(outlines[0]) > 200 and len(outlines[1]) > 200


def test_a_model_of_regions_needs_no_expression(tmp_path):
    Image.new("RGB", (96, 60), (90, 120, 30)).save(tmp_path / "0.png")
    boxes = [(10.0, 5.0, 50.0, 40.0), (70.0, 20.0, 90.0, 58.0)]
    records = [
        Record(f"c.{number}", ImageRef("0.png", 96, 60), None, [Target(box)], references=["a dog"])
        for number, box in enumerate(boxes)
    ]
    write_records(tmp_path / "r.jsonl", Header("mine", "own", "val", task=["caption"]), records)
    out, page = tmp_path / "x.predictions.jsonl", tmp_path / "page.png"
    given = ["predict", tmp_path / "r.jsonl", "--model", save_tiny_describer(tmp_path), "--out", out]
    given += ["--image-root", tmp_path, "--page", page, "--device", "cpu"]
    result = CliRunner().invoke(app, list(map(str, given)))
    assert result.exit_code == 0, result.stderr
    answers = read_predictions(out)[1]
    assert [tuple(answers[record.id].boxes[0]) for record in records] == boxes
    assert all(answer.caption for answer in answers.values())
    with Image.open(page) as drawn:
        assert drawn.width == 2 * 288 + 8
