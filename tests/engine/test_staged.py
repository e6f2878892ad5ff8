"""A run in stages: killed anywhere it ends with the same bits; a part of it can be trained; every stage is named."""

from __future__ import annotations

import json
import runpy
import shutil
import socket
import sys
from pathlib import Path

import pytest
import torch
from engine_runs import HERE, Runs
from engine_toy import weights
from test_engine_resume import assert_same

from refkit.backbones.hilora import without_adapters
from refkit.cli.main import main
from refkit.engine import CheckpointError, ConfigError, build_runner, load_config, train
from refkit.engine import test as evaluate_weights
from refkit.engine.checkpoint import read_checkpoint, trained_without

STAGED = HERE / "engine_staged_config.py"
LAST = "iter_23.pth"
BEST = [f"best_rec_miou_{stage}.pth" for stage in ("warm-up", "first", "second")]


@pytest.fixture(scope="module")
def staged() -> Runs:
    return Runs(STAGED)


@pytest.fixture(scope="module")
def whole(staged, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("staged") / "run"
    staged.finish(folder)
    return folder


def run_json(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def assert_same_end(run: Path, reference: Path) -> None:
    for name in (LAST, *BEST):
        assert_same(*(torch.load(folder / name, weights_only=True) for folder in (run, reference)))
    mine, other = run_json(run), run_json(reference)
    assert (mine["metrics"], mine["history"]) == (other["metrics"], other["history"])
    assert mine["status"] == "finished"
    assert not list(run.glob(".*.tmp"))


@pytest.mark.parametrize(
    "moment",
    [
        {"KILL_AT_ITERATION": "9"},  # inside the first stage
        {"KILL_IN_VALIDATION": "12"},  # between its last checkpoint and the choice of its best weights
        {"KILL_AT_ITERATION": "13"},  # in the second stage, before its first checkpoint
        {"KILL_AT_ITERATION": "16"},  # in the third, which begins elsewhere in a batch grid
        {"KILL_AT_ITERATION": "22"},  # with gradients that wait for their update
        {"KILL_IN_WRITE": "9"},
    ],
    ids=lambda moment: "-".join(*moment.items()).lower(),
)
def test_killed_run_resumes_exactly(moment, staged, whole, tmp_path):
    run = tmp_path / "run"
    staged.die(run, **moment)
    staged.finish(run, resume=True)
    assert_same_end(run, whole)


def test_fresh_matrices_survive_a_kill_and_their_seed(staged, tmp_path):
    staged.finish(tmp_path / "whole", "model.fresh=true")
    staged.die(tmp_path / "run", "model.fresh=true", KILL_AT_ITERATION="18")
    staged.finish(tmp_path / "run", "model.fresh=true", resume=True)
    assert_same_end(tmp_path / "run", tmp_path / "whole")
    adapted = {
        name.partition(".lora_A")[0] for name in weights(tmp_path / "whole" / LAST) if ".lora_A" in name
    }
    assert adapted == {f"blocks.{block}.fc" for block in range(4)}


def test_two_processes_resume_exactly(staged, tmp_path):
    def pair(name: str, resume: bool = False, **environment: str) -> list[int]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **environment}
        ranks = [
            staged.start(tmp_path / name, resume=resume, RANK=str(rank), LOCAL_RANK=str(rank), **shared)
            for rank in (0, 1)
        ]
        for process in ranks:
            process.join(90)
        return [process.exitcode for process in ranks]

    assert pair("whole") == [0, 0], staged.log(tmp_path / "whole")
    assert pair("killed", KILL_AT_ITERATION="8") == [-9, -9], staged.log(tmp_path / "killed")
    assert pair("killed", resume=True) == [0, 0], staged.log(tmp_path / "killed")
    ends = [
        read_checkpoint(sorted((tmp_path / name).glob("iter_1?.pth"))[-1]) for name in ("whole", "killed")
    ]
    assert ends[0]["loop"]["stage"] == "second"
    for part in ("state_dict", "optimizer", "random_state", "loop"):
        assert_same(ends[0][part], ends[1][part])


def test_stages_are_named_and_count_on(whole, staged):
    history = run_json(whole)["history"]
    assert [(entry["stage"], entry["epoch"], entry["iteration"]) for entry in history] == [
        ("warm-up", 1, 6), ("warm-up", 2, 12), ("first", 3, 15), ("second", 4, 19), ("second", 5, 23),
    ]  # fmt: skip
    log = staged.log(whole)
    assert "stage 2/3 first: epochs 3 to 3 of 3 iterations each" in log
    assert f"stage first starts from {whole}/{BEST[0]}" in log
    assert "second: Epoch(train) [5][4/4]" in log and "first: Epoch(val) [3][4/4]" in log
    (scalars,) = whole.glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert [line["stage"] for line in lines if "rec/miou" in line] == [entry["stage"] for entry in history]


def test_stage_trains_its_own_part_only(whole):
    """Warm-up: everything but the blocks; then the matrices of two, of four blocks; ``extra`` is left out at last."""
    assert not any("lora" in name for name in weights(whole / "iter_12.pth"))
    groups = read_checkpoint(whole / LAST)["optimizer"]["param_groups"]
    outside = 2 + 2 + 2  # stem, norm, head
    assert [len(group["params"]) for group in groups] == [outside + 2 * 4]
    started, ended = (_trained(read_checkpoint(whole / name)) for name in ("iter_15.pth", LAST))
    changed = {name for name in ended if name not in started or not torch.equal(ended[name], started[name])}
    lora = {f"blocks.{b}.fc.lora_{x}.default.weight" for b in range(4) for x in "AB"}
    rest = {f"{part}.{name}" for part in ("stem", "norm", "head") for name in ("weight", "bias")}
    assert changed == lora | rest


def _trained(checkpoint):
    """Weights by the names of the plain model; with EMA, those that were trained lie in ``ema_state_dict``."""
    names = {name: name.removeprefix("module.") for name in checkpoint["ema_state_dict"] if "module." in name}
    return {without_adapters(name) or name: checkpoint["ema_state_dict"][key] for key, name in names.items()}


@pytest.mark.parametrize("stage", ["warm-up", "second"])
def test_weights_are_evaluated_as_they_were_validated(stage, whole, tmp_path):
    """Adapters merged, and what the stage was trained without is left out."""
    best = max(
        (entry for entry in run_json(whole)["history"] if entry["stage"] == stage),
        key=lambda entry: entry["metrics"]["rec/miou"],
    )
    file = whole / f"best_rec_miou_{stage}.pth"
    metrics = evaluate_weights(load_config(STAGED), file, tmp_path / "test")
    assert metrics == pytest.approx(best["metrics"], abs=1e-5)
    assert trained_without(file) == (["extra"] if stage == "second" else [])


def test_part_of_a_run_then_the_rest(staged, whole, tmp_path):
    run = tmp_path / "run"
    staged.finish(run, stages=(None, "first"))
    assert run_json(run)["iterations"] == 15 and not (run / BEST[2]).exists()
    begun = tmp_path / "begun"
    shutil.copytree(run, begun)
    staged.finish(run, resume=True)
    assert_same_end(run, whole)
    staged.finish(begun, stages=("3", None))
    assert f"stage second starts from {begun}/iter_15.pth" in staged.log(begun)
    ends = [read_checkpoint(folder / LAST) for folder in (begun, whole)]
    assert_same(ends[0]["loop"], ends[1]["loop"])
    # The same weights in the same order; only the masks of dropout are others.
    assert [entry["iteration"] for entry in run_json(begun)["history"]] == [6, 12, 15, 19, 23]


def test_stage_from_given_weights(whole, tmp_path):
    config = load_config(STAGED, [f"load_from={whole / BEST[0]}"])
    train(config, tmp_path / "run", from_stage="first", until_stage="first")
    assert [entry["iteration"] for entry in run_json(tmp_path / "run")["history"]] == [15]


@pytest.mark.parametrize(
    ("stages", "complaint"),
    [
        (
            ("frist", None),
            r"--from-stage frist: no such stage; the config has 1 warm-up, .*Did you mean first\?",
        ),
        ((None, "4"), "--until-stage 4: no such stage"),
        (("second", "warm-up"), "--from-stage second comes after --until-stage warm-up"),
        (("first", None), r"no .*best_rec_miou_warm-up\.pth: train that stage first .* or set load_from"),
        (("second", None), r"the last weights of stage first, and there is no .*iter_15\.pth"),
    ],
)
def test_wrong_choice_of_stages_is_refused(stages, complaint, tmp_path):
    with pytest.raises(ConfigError, match=complaint):
        train(load_config(STAGED), tmp_path / "run", False, "auto", *stages)


def test_stages_only_where_there_are_some_and_never_over_later_work(whole, toy_config, tmp_path):
    with pytest.raises(ConfigError, match=r"has no train_cfg\.stages"):
        train(load_config(toy_config), tmp_path / "run", until_stage="first")
    with pytest.raises(ConfigError, match="give one of them"):
        train(load_config(STAGED), whole, resume=True, from_stage="first")
    with pytest.raises(CheckpointError, match=r"--from-stage first: .*iter_14\.pth was written after"):
        shutil.copytree(whole, tmp_path / "run")
        for file in (tmp_path / "run").glob("iter_1[5-9]*"):
            file.unlink()
        for file in (tmp_path / "run").glob("iter_2[0-9]*"):
            file.unlink()
        train(load_config(STAGED), tmp_path / "run", from_stage="first")
    with pytest.raises(ConfigError, match="--until-stage warm-up: the run is in stage second already"):
        shutil.copytree(whole, tmp_path / "late")
        train(load_config(STAGED), tmp_path / "late", resume=True, until_stage="1")


def _stages(**changes):
    return [{"name": "one", "epochs": 1}, {"name": "two", "epochs": 2, "start": "best", **changes}]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"epoch": 3}, "stage 2: unknown key 'epoch'; known are name, epochs"),
        ({"name": "one"}, "name='one'; every stage needs a name of its own"),
        ({"name": "a/b"}, "name='a/b'"),
        ({"epochs": 0}, r"\(two\): epochs=0; expected a whole number from 1"),
        ({"batch_size": 2.5}, r"\(two\): batch_size=2.5"),
        ({"lr": 0}, r"\(two\): lr=0; expected a positive number"),
        ({"start": "first"}, "expected 'best' or 'last'"),
        ({"model": {"adpat": 1}}, "unknown key 'adpat'; known are adapt, without"),
        ({"model": {"adapt": 3}}, "stage 3; this model has stages 0 to 2"),
        ({"model": {"without": ["extar"]}}, "nothing is called 'extar'; nearest: extra"),
    ],
)
def test_broken_stages_are_refused(changes, complaint, tmp_path):
    config = load_config(STAGED)
    config.train_cfg.stages = _stages(**changes)
    with pytest.raises(ValueError, match=complaint):
        train(config, tmp_path / "run")
    assert not list(tmp_path.glob("run/*.pth"))  # nothing was trained before the complaint


def test_best_needs_something_to_be_best_on(tmp_path):
    config = load_config(STAGED)
    config.default_hooks.checkpoint.save_best = None
    with pytest.raises(
        ConfigError, match=r"nothing says what is best: set default_hooks\.checkpoint\.save_best"
    ):
        train(config, tmp_path / "run")
    config = load_config(STAGED)
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    with pytest.raises(ConfigError, match="set val_dataloader"):
        train(config, tmp_path / "run")
    config.train_cfg.stages = []
    with pytest.raises(ConfigError, match="needs at least one"):
        train(config, tmp_path / "run")
    config.train_cfg.stages = _stages()[1:]
    with pytest.raises(ConfigError, match="nothing comes before it"):
        train(config, tmp_path / "run")


def test_model_that_knows_no_stages(toy_config, tmp_path):
    """Stages need nothing of a model, unless they want to tell it something."""
    config = load_config(toy_config)
    config.train_cfg = {"type": "StagedTrainLoop", "stages": [{"name": "one", "epochs": 1}]}
    train(config, tmp_path / "run")
    assert (tmp_path / "run" / "best_rec_miou_one.pth").is_file()
    config.train_cfg.stages[0].model = {"adapt": 1}
    with pytest.raises(ConfigError, match=r"SquareFinder has no enter_stage, so it cannot obey model=…"):
        train(config, tmp_path / "other")


def test_checkpoint_of_another_plan_is_not_resumed(whole, reference, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    config = load_config(STAGED, ["train_cfg.stages.1.epochs=2"])
    with pytest.raises(
        CheckpointError, match="first epoch of the stage 3 → 4; first iteration of the stage 15 → 18"
    ):
        build_runner(config, tmp_path / "run", resume=True).train()
    shutil.copytree(reference, tmp_path / "plain")
    with pytest.raises(CheckpointError, match="stage None, the config has stages warm-up, first, second"):
        build_runner(load_config(STAGED), tmp_path / "plain", resume=True).train()


@pytest.mark.parametrize("way", ["command", "tool"])
def test_command_line_takes_stages(way, whole, repository, tmp_path, monkeypatch, capsys):
    run = shutil.copytree(whole, tmp_path / "run")
    arguments = [str(STAGED), "--work-dir", str(run), "--resume", "--until-stage", "2"]
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    with pytest.raises(SystemExit) as end:
        if way == "tool":
            runpy.run_path(str(repository / "tools" / "train.py"), run_name="__main__")
        else:
            main(["train", *arguments])
    told = f"{end.value.code}{capsys.readouterr().err}"
    assert "--until-stage first: the run is in stage second already" in told and "Traceback" not in told
