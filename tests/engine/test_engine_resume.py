"""Kill -9 at any moment, resume, and get bit for bit what the uninterrupted run gives. Real processes, real kills."""

from __future__ import annotations

import json
import random
import shutil
import socket
from pathlib import Path

import pytest
import torch

from refkit.engine.checkpoint import read_checkpoint

CLOCKS = ("time", "memory", "eta", "experiment_name", "mmengine_version", "cfg", "config")


def assert_same(mine, other, path=""):
    """Every tensor and value of two checkpoints is equal, clocks and names aside."""
    if isinstance(mine, dict):
        assert mine.keys() == other.keys(), path
        for key, value in mine.items():
            if not any(clock in str(key) for clock in CLOCKS):
                assert_same(value, other[key], f"{path}.{key}")
    elif isinstance(mine, (list, tuple)):
        assert len(mine) == len(other), path
        for index, pair in enumerate(zip(mine, other, strict=True)):
            assert_same(*pair, f"{path}[{index}]")
    elif isinstance(mine, torch.Tensor):
        assert mine.dtype == other.dtype and torch.equal(mine, other), path
    else:
        assert mine == other, path


def assert_same_end(run: Path, reference: Path) -> None:
    """Last checkpoint (weights, EMA, optimizer, schedules, logs, generators), best weights, metrics."""
    for name in ("iter_18.pth", "best_rec_miou.pth"):
        mine, other = (torch.load(folder / name, weights_only=True) for folder in (run, reference))
        assert_same(mine, other)
    mine, other = (json.loads((folder / "run.json").read_text()) for folder in (run, reference))
    assert mine["metrics"] == other["metrics"]
    assert mine["status"] == "finished"
    assert not list(run.glob(".*.tmp"))


@pytest.mark.parametrize(
    "moment",
    [
        {"KILL_AT_ITERATION": "3"},  # before the first checkpoint
        {"KILL_AT_ITERATION": "11"},  # inside an epoch, after a checkpoint of the same epoch
        {"KILL_IN_VALIDATION": "12"},  # between an epoch's checkpoint and the end of its validation
        {"KILL_IN_WRITE": "1"},  # half of the first checkpoint is on the disk
        {"KILL_IN_WRITE": "5"},  # … of a later one
    ],
    ids=lambda moment: "-".join(*moment.items()).lower(),
)
def test_killed_run_resumes_exactly(moment, runs, reference, tmp_path):
    run = tmp_path / "run"
    runs.die(run, **moment)
    runs.finish(run, resume=True)
    assert_same_end(run, reference)


def test_killed_from_outside_at_random_moments(runs, reference, tmp_path):
    run, dice = tmp_path / "run", random.Random(7)
    kills = sum(runs.kill_after(dice.uniform(0.4, 1.3), run, resume=True) for _ in range(5))
    runs.finish(run, resume=True)
    assert kills >= 2
    assert_same_end(run, reference)


def test_workers_and_pending_gradients(runs, tmp_path):
    """With worker processes, and with checkpoints falling due while gradients accumulate."""
    options = (
        "optim_wrapper.accumulative_counts=4",
        "train_dataloader.num_workers=1",
        "default_hooks.checkpoint.interval_iters=3",
    )
    runs.finish(tmp_path / "whole", *options)
    runs.die(tmp_path / "killed", *options, KILL_AT_ITERATION="11")
    assert (tmp_path / "killed" / "last_checkpoint").read_text().strip().endswith("iter_8.pth")
    runs.finish(tmp_path / "killed", *options, resume=True)
    assert_same_end(tmp_path / "killed", tmp_path / "whole")


def test_damaged_checkpoint_is_passed_over(runs, reference, tmp_path):
    run = tmp_path / "run"
    runs.die(run, KILL_AT_ITERATION="15")
    newest = run / "iter_12.pth"
    newest.write_bytes(newest.read_bytes()[:-100])
    runs.finish(run, resume=True)
    assert "iter_12.pth: its content does not match its checksum" in runs.log(run)
    assert "resumed from" in runs.log(run) and "iter_8.pth" in runs.log(run)
    assert_same_end(run, reference)


def test_two_processes_resume_exactly(runs, tmp_path):
    def pair(name: str, resume: bool = False, **environment: str) -> list[int]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **environment}
        ranks = [
            runs.start(tmp_path / name, resume=resume, RANK=str(rank), LOCAL_RANK=str(rank), **shared)
            for rank in (0, 1)
        ]
        for process in ranks:
            process.join(60)
        return [process.exitcode for process in ranks]

    assert pair("whole") == [0, 0], runs.log(tmp_path / "whole")
    assert pair("killed", KILL_AT_ITERATION="5") == [-9, -9], runs.log(tmp_path / "killed")
    assert pair("killed", resume=True) == [0, 0], runs.log(tmp_path / "killed")
    ends = [read_checkpoint(tmp_path / name / "iter_9.pth") for name in ("whole", "killed")]
    assert len(ends[0]["random_state"]) == 2
    assert not torch.equal(ends[0]["random_state"][0]["torch"], ends[0]["random_state"][1]["torch"])
    assert_same(ends[0]["state_dict"], ends[1]["state_dict"])
    assert_same(ends[0]["random_state"], ends[1]["random_state"])


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("train_dataloader.batch_size=3", "processes x batch size 2 → 3"),
        ("train_dataloader.dataset.count=9", "samples in the training set 11 → 9"),
        ("randomness.seed=5", "random seed 0 → 5"),
    ],
)
def test_changed_run_is_not_resumed(override, complaint, reference, tmp_path):
    from refkit.engine import CheckpointError, build_runner, load_config

    run = tmp_path / "run"
    shutil.copytree(reference, run)
    runner = build_runner(
        load_config(Path(__file__).with_name("engine_toy_config.py"), [override]), run, True
    )
    with pytest.raises(CheckpointError, match=complaint):
        runner.train()


def test_finished_run_is_neither_overwritten_nor_changed_by_resume(runs, reference, tmp_path):
    from refkit.engine import CheckpointError, build_runner, load_config

    run = tmp_path / "run"
    shutil.copytree(reference, run)
    with pytest.raises(CheckpointError, match="continue it with --resume"):
        build_runner(load_config(Path(__file__).with_name("engine_toy_config.py")), run)
    runs.finish(run, resume=True)
    assert_same_end(run, reference)
