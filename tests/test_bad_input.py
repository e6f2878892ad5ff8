"""What a stranger may get wrong, through the doors that strangers use: one clear message, no traceback."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tiny_models
import torch
from tiny_grounder import (
    PIPELINE,
    WORDS,
    model_config,
    save_tiny_model,
    save_tiny_work_dir,
    write_tiny_records,
)
from typer.testing import CliRunner

from refkit.cli.main import app
from refkit.data.records import read_records, write_records
from refkit.inference.inferencer import load_model
from refkit.registry import MODELS
from refkit.zoo.weights import save_weights

LONG = "the red circle right the red square left"
EVALUATION = f"""
model = {model_config()!r}
dataset = dict(type="ReferringDataset", records="tiny.records.jsonl", pipeline={PIPELINE!r})
test_dataloader = dict(batch_size=3, num_workers=0, dataset=dataset, collate_fn=dict(type="refkit.data.collate.collate"))
test_cfg = dict(type="FinalEvalLoop")
test_evaluator = dict(type="RECMetric")
train_dataloader = {{**test_dataloader, "sampler": dict(type="EpochSampler")}}
train_cfg = dict(type="ExactTrainLoop", max_epochs=2)
optim_wrapper = dict(type="AutocastOptimWrapper", optimizer=dict(type="AdamW", lr=1e-3))
default_scope = "refkit"
"""


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refusal(result):
    """The message of a refused command, on one line."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert "{" not in result.stdout
    return " ".join(result.stderr.split())


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with records, their pictures, a config that evaluates on them, and fitting weights."""
    write_tiny_records(tmp_path)
    (tmp_path / "tiny.py").write_text(EVALUATION)
    save_tiny_model(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REFKIT_DATA", str(tmp_path))
    return tmp_path


def ask(model):
    return run("ground", "pictures/0.png", "the red circle", "--model", model, "--json-only")


def predict(model, records="tiny.records.jsonl"):
    return run("predict", records, "--model", model, "--out", "p.jsonl", "--image-root", "pictures")


def evaluate(weights):
    return run("test", "tiny.py", weights, "--work-dir", "work")


def rewrite(change):
    """The records again, with their texts changed."""
    header, records = read_records("tiny.records.jsonl")
    for record in records:
        record.text = change(record)
    write_records("tiny.records.jsonl", header, records)


def test_all_doors_open_for_good_input(place):
    assert json.loads(ask("tiny.safetensors").stdout)["boxes"]
    assert predict("tiny.safetensors").exit_code == 0
    assert "rec/acc50" in evaluate("tiny.safetensors").stdout


def foreign_family():
    pretrain = MODELS.build(tiny_models.pretrain_config(lambda texts: None))
    return {f"tower.{name}": value for name, value in pretrain.backbone.state_dict().items()}


def adapter_only():
    name = "backbone.clip.vision_model.encoder.layers.0.self_attn.q_proj"
    return {
        f"base_model.model.{name}.lora_A.weight": torch.zeros(4, 16),
        f"base_model.model.{name}.lora_B.weight": torch.zeros(16, 4),
    }


def wrapped_by_peft():
    state = MODELS.build(model_config()).state_dict()
    return {f"base_model.model.{name}": value for name, value in state.items()}


FOREIGN = {
    "another family": (
        foreign_family,
        "weights of another family or size: the model's names begin with backbone",
    ),
    "adapter": (adapter_only, "holds adapter matrices (LoRA) alone"),
    "wrapped": (wrapped_by_peft, "turn it into a refkit model with 'refkit zoo import'"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_weights_of_something_else_say_what_they_are(place, name):
    make, message = FOREIGN[name]
    work_dir = save_tiny_work_dir(place / "run")
    torch.save({"state_dict": make()}, work_dir / "best_other.pth")
    assert message in refusal(ask(work_dir))
    assert message in refusal(predict(work_dir / "best_other.pth"))
    assert message in refusal(evaluate(work_dir / "best_other.pth"))


def test_an_adapter_without_a_config_is_recognised_too(place):
    class Adapter(torch.nn.Module):
        def state_dict(self):
            return adapter_only()

    save_weights(Adapter(), place / "adapter_model.safetensors")
    for door in (ask, predict, evaluate):
        assert "holds adapter matrices (LoRA) alone" in refusal(door("adapter_model.safetensors"))


@pytest.mark.parametrize("left", [0, 10, 0.2, 0.6, 0.99])
def test_a_truncated_file_is_called_that(place, left):
    work_dir = save_tiny_work_dir(place / "run")
    for file in (place / "tiny.safetensors", work_dir / "iter_3.pth"):
        whole = file.read_bytes()
        file.write_bytes(whole[: left if isinstance(left, int) else int(left * len(whole))])
    checkpoint = work_dir / "iter_3.pth"
    for door in (ask, predict, evaluate):
        assert "tiny.safetensors: damaged, cut short" in refusal(door("tiny.safetensors"))
        assert "does not match its checksum (torn or corrupt file)" in refusal(door(checkpoint))
    checkpoint.with_name("iter_3.pth.sha256").unlink()
    for door in (ask, predict, evaluate):
        assert "iter_3.pth: damaged, cut short or not a weight file" in refusal(door(checkpoint))


def test_code_in_a_checkpoint_is_named_and_not_run(place):
    work_dir = save_tiny_work_dir(place / "run")
    state = MODELS.build(model_config()).state_dict()
    torch.save({"model": state, "args": np.random.default_rng(0)}, work_dir / "best_code.pth")
    for door in (ask, predict, evaluate):
        message = refusal(door(work_dir / "best_code.pth"))
        assert "holds more than tensors (numpy" in message and "weights_only" not in message


def test_pictures_of_another_size_than_the_model_takes(place):
    pipelines = {40: "4 x 4", 36: "multiples of the patch, 8"}
    for size, message in pipelines.items():
        save_weights(
            MODELS.build(model_config()),
            place / "wrong.safetensors",
            {"model": model_config(), "pipeline": [{"type": "Letterbox", "size": size}]},
        )
        config = EVALUATION.replace("'size': 32}", f"'size': {size}}}")
        (place / "tiny.py").write_text(config)
        assert message in refusal(ask("wrong.safetensors"))
        assert message in refusal(predict("wrong.safetensors"))
        assert message in refusal(evaluate("tiny.safetensors"))


def test_records_without_an_expression_are_named(place):
    rewrite(lambda record: " " if record.id == "tiny.4" else record.text)
    assert "record 'tiny.4' has no expression" in refusal(predict("tiny.safetensors"))
    assert "without an expression: record tiny.4" in refusal(evaluate("tiny.safetensors"))
    assert "the expression is empty" in refusal(
        run("ground", "pictures/0.png", " ", "--model", "tiny.safetensors")
    )
    assert not (place / "p.jsonl").exists()


def test_texts_that_are_cut_are_counted_once_per_run(place, caplog):
    rewrite(lambda record: f"{LONG} {record.id[-1]}" if record.id in ("tiny.1", "tiny.5") else record.text)
    said = "2 different texts were longer than the 8 tokens that the model takes"
    assert predict("tiny.safetensors").exit_code == 0
    assert (caplog.text.count("was cut; more such"), caplog.text.count(said)) == (1, 1)
    for command in (["test", "tiny.py", "tiny.safetensors"], ["train", "tiny.py"]):
        caplog.clear()
        result = run(*command, "--work-dir", f"work_{command[0]}")
        assert result.exit_code == 0, result.output
        log = "".join(file.read_text() for file in (place / f"work_{command[0]}").glob("*/*.log"))
        assert log.count(said) == 1
        assert caplog.text.count("was cut; more such") == 1


def test_one_question_that_is_cut_is_answered_with_a_warning(place, caplog):
    result = run("ground", "pictures/0.png", LONG, "--model", "tiny.safetensors", "--json-only")
    assert json.loads(result.stdout)["text"] == LONG
    assert caplog.text.count("is longer than the 8 tokens that the model takes") == 1


def test_the_same_sentence_cut_short_gives_the_same_answer(place):
    inferencer = load_model("tiny.safetensors")
    kept = " ".join(LONG.split()[: len(WORDS) and 6])
    boxes = [inferencer.ground("pictures/0.png", text).boxes for text in (LONG, kept)]
    np.testing.assert_array_equal(*boxes)


def test_nothing_is_left_behind_by_a_refusal(place):
    before = {path.name for path in place.iterdir()}
    shutil.copy("tiny.safetensors", "cut.safetensors")
    (place / "cut.safetensors").write_bytes(b"x")
    for door in (ask, predict):
        refusal(door("cut.safetensors"))
    assert {path.name for path in place.iterdir()} - before <= {"cut.safetensors", "tiny.records.jsonl.idx"}
