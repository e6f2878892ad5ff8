"""The runner with the real thing: a tiny HiVG on pictures and records from disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from refkit.backbones.hilora import adapted_names
from refkit.backbones.tokenizer import WordTokenizer
from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.engine import load_config, train
from refkit.inference.history import Validation, read_history
from refkit.inference.inferencer import load_model
from refkit.leaderboard.scoring import score


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two squares per picture, one meant."""
    (tmp_path / "images").mkdir()
    records = []
    for index in range(8):
        left_is_meant = index % 2 == 0
        pixels = np.full((40, 60, 3), 90, np.uint8)
        top = 2 * index
        pixels[top : top + 20, 4:24] = pixels[top : top + 20, 34:54] = (230, 40, 40)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
        x = 4.0 if left_is_meant else 34.0
        side = "left" if left_is_meant else "right"
        image = ImageRef(id=str(index), file=f"{index}.png", width=60, height=40)
        target = (Target(box=(x, top, x + 20, top + 20)),)
        record = Record(
            id=f"q{index}", image=image, text=f"the {side} red square", targets=target, facts={"kind": side}
        )
        records.append(record)
    write_records(tmp_path / "squares.jsonl", Header("squares", "toy", "all"), records)
    WordTokenizer.train(["the left right red square a dog circle"], tmp_path / "words.json", 8)
    monkeypatch.setenv("REFKIT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_tiny_hivg_learns_and_its_file_scores_the_same(data):
    metrics = train(load_config(Path(__file__).with_name("engine_hivg_config.py")), data / "run")
    result = score(data / "squares.jsonl", data / "run" / "predictions" / "squares.toy.all.jsonl", by="kind")
    assert {f"rec/{name}": cell.value for name, cell in result.metrics.items()}.items() <= metrics.items()
    assert metrics["rec/acc50/left"] == result.by["kind"]["left"].metrics["acc50"].value
    assert metrics["rec/acc50"] >= 0.75, metrics
    assert read_history(data / "run") == [Validation(30, "", metrics)]
    losses = [
        entry["loss"]
        for file in (data / "run").glob("*/vis_data/scalars.json")
        for line in file.read_text().splitlines()
        if "loss" in (entry := json.loads(line))
    ]
    assert losses[-1] < 0.6 * losses[0]  # the last one is a mean over 50 iterations


def test_staged_hivg_is_asked_without_adapters_and_without_what_it_was_trained_without(data):
    config = load_config(Path(__file__).with_name("engine_hivg_config.py"))
    vision = "backbone.clip.vision_model.encoder.layers"
    config.model.backbone.bridge = dict(type="CrossModalBridge", blocks=[0], text_levels=[1])
    config.model.data_preprocessor.trim_text = False
    config.model.adapters = dict(
        type="HiLoRA", preset="paper", groups={vision: 2}, always=["backbone.bridges"]
    )
    config.optim_wrapper.precision = "float32"
    config.default_hooks.checkpoint.save_best = "rec/miou"
    stages = [
        dict(name="warm-up", epochs=1, model=dict(without=["backbone.bridges"])),
        dict(name="one", epochs=2, lr=0.01, start="best", model=dict(adapt=1)),
        dict(name="two", epochs=2, lr=0.01, start="last", model=dict(adapt=2)),
    ]
    config.train_cfg = dict(type="StagedTrainLoop", stages=stages)
    metrics = train(config, data / "run")
    pictures, file = data / "images", data / "run" / "iter_10.pth"
    assert any(".lora_B." in name for name in torch.load(file, weights_only=True)["state_dict"])
    inferencer = load_model(file, precision="float32")
    assert adapted_names(inferencer.model) == [] and inferencer.model.backbone.bridging
    first = inferencer.ground(pictures / "1.png", "the left red square")
    inferencer.save(data / "whole.safetensors")
    again = load_model(data / "whole.safetensors", precision="float32")
    assert np.array_equal(again.ground(pictures / "1.png", "the left red square").boxes, first.boxes)
    assert again.model.adapters is None
    answers = (data / "run" / "predictions" / "squares.toy.all.jsonl").read_text().splitlines()[1:]
    validated = {answer["id"]: answer["boxes"][0] for answer in map(json.loads, answers)}
    asked = inferencer.ground(pictures / "1.png", "the right red square").boxes[0]
    assert asked == pytest.approx(validated["q1"], abs=0.01) and "rec/miou" in metrics
    early = load_model(data / "run" / "best_rec_miou_warm-up.pth")
    early.save(data / "early.safetensors")
    for loaded in (early, load_model(data / "early.safetensors")):
        assert loaded.model.without == {"backbone.bridges"} and not loaded.model.backbone.bridging
