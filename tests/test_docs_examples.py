"""What the documentation tells people to write and type works: its blocks are taken from the page and run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refkit.leaderboard.scoring import score

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = REPOSITORY / "docs" / "pages"
BLOCK = re.compile(r'^```python title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


# One process for all commands: each would import torch anew.
DRIVER = """
import json, sys
import pytest
from refkit.cli.main import main

assert pytest.main(["mine", "-q", "-p", "no:cacheprovider"]) == 0
for command in json.loads(sys.argv[1]):
    try:
        main(command)
    except SystemExit as end:
        assert not end.code, command
"""
SMALL = (
    "train_dataloader.dataset.scenes=4", "train_dataloader.batch_size=4", "train_cfg.max_epochs=1",
    "train_dataloader.num_workers=0", "train_dataloader.persistent_workers=false",
    "val_dataloader.num_workers=0", "val_dataloader.persistent_workers=false", "val_dataloader.dataset.scenes=4",
)  # fmt: skip
DRAWN = "data/refshapes.seed1.val.jsonl"
COMMANDS = (
    "data check data/mine.own.train.jsonl",
    "train configs/mine/own_parts.py --work-dir run" + "".join(f" --cfg-options {part}" for part in SMALL),
    "data import refshapes --seed 1 --scenes 4 --images data/drawn --out data",
    f"predict {DRAWN} --model run --out answers.predictions.jsonl",
    f"score {DRAWN} answers.predictions.jsonl --protocol pointing/1 --json score.json",
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of package and configs, with the page's files added and pictures of one's own."""
    folder = tmp_path_factory.mktemp("checkout")
    for part in ("refkit", "configs"):
        shutil.copytree(REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in BLOCK.findall((PAGES / "extending.md").read_text("utf-8")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    (folder / "data" / "pictures").mkdir(parents=True)
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(folder / "data" / "pictures" / "a.png")
    rows = ("file,width,height,text,left,top,right,bottom", 'a.png,64,48,"left, the dog",4,5,30.5,40')
    (folder / "boxes.csv").write_text("\n".join(rows), "utf-8")
    return folder


def run(folder: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": ".", "REFKIT_DATA": "data", "REFKIT_CACHE": "cache"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_own_parts_are_tested_trained_asked_and_scored(checkout):
    output = run(checkout, "mine/csv_to_records.py", "boxes.csv", "data/mine.own.train.jsonl")
    assert output.startswith("1 records, digest sha256:")
    output = run(checkout, "-c", DRIVER, json.dumps([command.split() for command in COMMANDS]))
    assert "3 passed" in output
    answers = (checkout / "answers.predictions.jsonl").read_text("utf-8").splitlines()
    categories = json.loads(answers[1])["categories"]
    assert (
        len(answers) == 21 and len(categories) == 6 and sum(categories.values()) == pytest.approx(1, abs=1e-4)
    )
    score = json.loads((checkout / "score.json").read_text("utf-8"))
    assert score["protocol"]["id"] == "pointing/1" and 0 <= score["metrics"]["hit"]["value"] <= 1


def test_first_score_of_getting_started(tmp_path):
    page = (PAGES / "getting_started.md").read_text("utf-8")
    truth, answers = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "truth.jsonl").write_text(truth, "utf-8")
    (tmp_path / "answers.jsonl").write_text(answers, "utf-8")
    result = score(tmp_path / "truth.jsonl", tmp_path / "answers.jsonl")
    assert result.metrics["acc50"].value == 0.5 and "Acc@0.5 is 50 %" in page
    assert result.metrics["miou"].value == pytest.approx(0.80 / 2, abs=0.005)
