"""Mask Referring Modeling in the runner: which step an iteration is, also after a kill and in a second stage."""

from __future__ import annotations

import json
import math

import pytest
import torch
from engine_runs import HERE, Runs

from refkit.backbones.beit3_weights import backbone_state
from refkit.engine.checkpoint import read_checkpoint

ITERATIONS = (
    5  # of an epoch, which is a stage: an odd number, so that a stage may not begin with an image step
)


@pytest.fixture(scope="module")
def mrefm():
    return Runs(HERE / "engine_mrefm_config.py")


@pytest.fixture(scope="module")
def whole(mrefm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mrefm") / "run"
    mrefm.finish(folder)
    return folder


def diary(folder):
    return [json.loads(line) for line in (folder / "diary.jsonl").read_text().splitlines()]


def test_steps_alternate_from_the_beginning_of_a_stage(whole):
    lines = diary(whole)
    assert [step for _, step, _ in lines] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    for _, step, losses in lines:
        own = {"loss_mlm", "loss_mlm_sts"} if step % 2 else {"loss_mim", "loss_mim_vts"}
        assert set(losses) == {"loss_mrm_focal", "loss_mrm_dice"} | own
        assert all(math.isfinite(value) for value in losses.values())


def test_a_killed_run_goes_on_with_the_right_step(mrefm, whole, tmp_path):
    run = tmp_path / "run"
    mrefm.die(run, KILL_AT_ITERATION="8")
    mrefm.finish(run, resume=True)
    lines = {number: rest for number, *rest in diary(run)}
    assert lines == {number: rest for number, *rest in diary(whole)}
    name = f"iter_{2 * ITERATIONS}.pth"
    mine, other = (read_checkpoint(folder / name)["state_dict"] for folder in (run, whole))
    assert mine.keys() == other.keys()
    assert all(torch.equal(value, other[key]) for key, value in mine.items())


def test_a_checkpoint_holds_what_fine_tuning_takes_and_no_frozen_network(whole):
    state = read_checkpoint(whole / f"iter_{2 * ITERATIONS}.pth")["state_dict"]
    assert {name.split(".")[0] for name in state} == {"backbone", "heads"}
    taken = backbone_state(state, "here")
    assert {name.split(".")[0] for name in taken} == {"beit3", "language_head", "vision_head", "logit_scale"}


def test_iterations_of_one_update_are_of_one_kind(mrefm, tmp_path):
    mrefm.finish(tmp_path / "run", "optim_wrapper.accumulative_counts=2")
    assert [step for _, step, _ in diary(tmp_path / "run")] == [0, 0, 1, 1, 2, 0, 0, 1, 1, 2]
