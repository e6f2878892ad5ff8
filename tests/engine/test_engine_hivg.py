"""The runner with the real thing: a tiny HiVG on pictures and records from disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refkit.backbones.tokenizer import WordTokenizer
from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.engine import load_config, train
from refkit.inference.history import Validation, read_history
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
