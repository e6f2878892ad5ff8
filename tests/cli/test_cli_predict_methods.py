"""``refkit predict --method``: from records to a prediction file that can be scored."""

import numpy as np
import pytest
from tiny_grounder import json_lines, save_tiny_model, write_tiny_records
from tiny_peers import save_peer
from typer.testing import CliRunner

from refkit import rle
from refkit.cli.main import app
from refkit.inference.peers.sam import SamRefiner
from refkit.leaderboard.predictions import read_predictions
from refkit.leaderboard.scoring import score

COUNT = 5


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers")
    return {name: save_peer(name, folder / f"tiny-{name}") for name in ("owlv2", "clipseg", "sam")}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_tiny_records(tmp_path_factory.mktemp("records"), COUNT)


@pytest.fixture
def run(peers, records, tmp_path):
    def run(*arguments, method="owlv2", weights=None, out="x.predictions.jsonl"):
        chosen = ["--method", f"hf:{method}", "--weights", weights or peers[method]] if method else []
        given = [
            "predict",
            records,
            "--data-root",
            records.parent,
            "--out",
            tmp_path / out,
            "--device",
            "cpu",
        ]
        return CliRunner().invoke(app, [*map(str, [*given, *chosen, *arguments])])

    return run


def message(result):
    assert result.exit_code == 2, result.output
    return " ".join(result.stderr.split())


def test_the_file_states_method_weights_versions_and_settings(run, records, peers, tmp_path):
    result = run("--set", "boxes=2", "--set", "threshold=0.01", "--batch-size", 2)
    assert result.exit_code == 0, result.stderr
    header, *lines = json_lines(tmp_path / "x.predictions.jsonl")
    assert header["model"] == "hf:owlv2 (tiny-owlv2)"
    assert header["checkpoint"].startswith("sha256:")
    settings = header["settings"]
    assert (settings["boxes"], settings["threshold"], settings["precision"]) == (2, 0.01, "float32")
    assert {"method", "weights", "transformers", "torch"} <= settings.keys()
    assert str(peers["owlv2"].parent) not in str(header)
    assert [line["id"] for line in lines] == [f"tiny.{index}" for index in range(COUNT)]
    assert all(len(line["scores"]) == len(line["boxes"]) <= 2 for line in lines)
    assert score(records, tmp_path / "x.predictions.jsonl").answered == COUNT


def test_shards_and_resuming_give_the_same_file(run, tmp_path):
    assert run().exit_code == 0
    whole = (tmp_path / "x.predictions.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "y.predictions.jsonl.partial").write_text("".join(whole[:3]))
    assert run("--resume", out="y.predictions.jsonl").exit_code == 0
    assert json_lines(tmp_path / "y.predictions.jsonl") == json_lines(tmp_path / "x.predictions.jsonl")
    for shard in ("0/2", "1/2"):
        assert run("--shard", shard, out="z.predictions.jsonl").exit_code == 0
    assert run("--merge", method=None, out="z.predictions.jsonl").exit_code == 0
    assert json_lines(tmp_path / "z.predictions.jsonl") == json_lines(tmp_path / "x.predictions.jsonl")


def test_other_settings_do_not_continue_a_run(run, tmp_path):
    assert run().exit_code == 0
    whole = (tmp_path / "x.predictions.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "y.predictions.jsonl.partial").write_text("".join(whole[:3]))
    assert "settings" in message(run("--resume", "--set", "boxes=3", out="y.predictions.jsonl"))


def test_masks_are_of_the_pictures(run, records, tmp_path):
    assert run(method="clipseg").exit_code == 0
    _, predictions = read_predictions(tmp_path / "x.predictions.jsonl")
    for index in range(COUNT):
        mask = predictions[f"tiny.{index}"].mask
        assert rle.mask_fault(mask, 60 - 3 * index, 40 + 4 * index) is None


@pytest.mark.parametrize("own", [False, True])
def test_refining_keeps_boxes_and_adds_masks(run, peers, tmp_path, own):
    model = ["--model", save_tiny_model(tmp_path)] if own else []
    method = None if own else "owlv2"
    refine = ["--refine", "sam", "--refine-weights", peers["sam"], "--set", "refine.boxes=all"]
    assert run(*model, method=method, out="plain.jsonl").exit_code == 0
    result = run(*model, *refine, method=method, out="refined.jsonl")
    assert result.exit_code == 0, result.stderr
    _, plain = read_predictions(tmp_path / "plain.jsonl")
    header, refined = read_predictions(tmp_path / "refined.jsonl")
    assert header.model.endswith(" + sam (tiny-sam)")
    assert header.settings["refine"]["boxes"] == "all"
    assert header.settings["refine"]["checkpoint"].startswith("sha256:")
    for index in range(COUNT):
        answer = refined[f"tiny.{index}"]
        np.testing.assert_array_equal(answer.boxes, plain[answer.id].boxes)
        assert rle.mask_fault(answer.mask, 60 - 3 * index, 40 + 4 * index) is None


def test_every_answer_is_refined_on_its_own_picture(run, peers, records, tmp_path, monkeypatch):
    seen, refine = {}, SamRefiner.refine

    def watched(self, picture, prediction):
        seen[prediction.id] = picture.shape[:2]
        return refine(self, picture, prediction)

    monkeypatch.setattr(SamRefiner, "refine", watched)
    assert run("--refine", "sam", "--refine-weights", peers["sam"], "--shard", "1/2").exit_code == 0
    assert seen == {f"tiny.{index}": (60 - 3 * index, 40 + 4 * index) for index in (1, 3)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--set", "treshold=0.1"),
            "no setting 'treshold' (it has: boxes, threshold); did you mean 'threshold'?",
        ),
        (("--set", "threshold=high"), "hf:owlv2: threshold=high: input should be a valid number"),
        (("--set", "threshold=1.5"), "input should be less than 1"),
        (("--set", "threshold=nan"), "threshold=nan"),
        (("--set", "boxes"), "--set 'boxes': expected KEY=VALUE"),
        (("--set", "boxes=1", "--set", "boxes=2"), "--set boxes: given twice"),
        (("--set", "refine.boxes=all"), "--set refine.boxes=… needs --refine"),
        (("--refine", "sam"), "--refine sam needs --refine-weights"),
        (("--refine-weights", "x"), "--refine-weights needs --refine"),
        (("--refine", "sum", "--refine-weights", "x"), "--refine 'sum' is unknown; it may be sam"),
        (("--model", "x"), "--model and --method exclude each other"),
    ],
)
def test_wrong_arguments_are_named(run, tmp_path, arguments, words):
    assert words in message(run(*arguments))
    assert not (tmp_path / "x.predictions.jsonl").exists()


def test_options_that_lack_their_partner(run):
    assert "name the model that answers (--model), or a method" in message(run(method=None))
    assert "--method hf:owlv2 needs --weights" in message(run("--method", "hf:owlv2", method=None))
    assert "--weights needs --method" in message(run("--weights", "x", "--model", "y", method=None))
    assert "belongs to --method" in message(run("--model", "y", "--set", "boxes=1", method=None))
    assert "did you mean 'hf:owlv2'?" in message(run(method="owl2", weights="x"))


def test_weights_of_another_method_are_refused(run, peers):
    assert "'model_type' is 'clipseg', this method needs 'owlv2'" in message(run(weights=peers["clipseg"]))


def test_help_has_an_example_and_the_methods():
    shown = " ".join(CliRunner().invoke(app, ["predict", "--help"], terminal_width=200).output.split())
    assert "--method hf:grounding-dino --weights" in shown
    assert "hf:sam3" in shown
