"""torchrun with two processes over gloo: same metrics as one process, to the last bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from refkit.engine import load_config
from refkit.engine import test as evaluate_weights
from refkit.engine.checkpoint import read_checkpoint


def torchrun(repository, config, work_dir, *options):
    """Train with two processes; what ``run.json`` says then, and the newest checkpoint."""
    environment = {**os.environ, "PYTHONPATH": str(config.parent), "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, str(repository / "tools" / "train.py"), str(config), "--work-dir", str(work_dir)]
    done = subprocess.run(
        [*command, *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=work_dir.parent,
    )
    assert done.returncode == 0, done.stderr
    assert "FutureWarning" not in done.stderr
    run = json.loads((work_dir / "run.json").read_text())
    assert run["processes"] == 2 and run["status"] == "finished"
    return run, Path((work_dir / "last_checkpoint").read_text().strip())


def test_two_processes_train_and_evaluate_exactly(repository, toy_config, tmp_path):
    """11 training and 7 validation samples divide by neither two processes nor batches of two."""
    options = ("--cfg-options", "train_cfg.max_epochs=2", "optim_wrapper.accumulative_counts=2")
    run, newest = torchrun(repository, toy_config, tmp_path / "run", *options)
    alone = evaluate_weights(load_config(toy_config), newest, tmp_path / "alone")
    assert alone == run["metrics"]
    files = [tmp_path / name / "predictions" / "squares.toy.n100.jsonl" for name in ("run", "alone")]
    answers = [file.read_text().splitlines()[1:] for file in files]
    assert answers[0] == answers[1] and len(answers[0]) == 7


def test_checkpoints_of_sharded_models_are_whole(repository, toy_config, tmp_path):
    """Two processes that share the frozen layer leave weights that one process evaluates to the same metrics."""
    config = toy_config.with_name("engine_sharded_config.py")
    run, newest = torchrun(repository, config, tmp_path / "run")
    state = read_checkpoint(newest)["state_dict"]
    assert type(state["backbone.weight"]) is torch.Tensor and state["backbone.weight"].shape == (4, 3, 3, 3)
    assert evaluate_weights(load_config(config), newest, tmp_path / "alone") == run["metrics"]
    torchrun(repository, config, tmp_path / "run", "--resume", "--cfg-options", "train_cfg.max_epochs=3")
