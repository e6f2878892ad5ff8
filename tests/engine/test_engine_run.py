"""Training and evaluating in one process: metrics, files, logs, pictures, precision."""

from __future__ import annotations

import json
import logging
import runpy
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from refkit.data.records import Header, write_records
from refkit.engine import ConfigError, EvalLoop, load_config, test, train
from refkit.engine.answer_spool import AnswerSpool
from refkit.engine.hooks import LeanRuntimeInfoHook, ProgressHook, SafeCheckpointHook, SamplePicturesHook
from refkit.engine.hooks.lean_log import TrainingDivergedError
from refkit.engine.launch import prepare_config
from refkit.engine.metrics import EvaluationError, ProtocolMetric, check_ids
from refkit.engine.sharding import WholeBatchSampler
from refkit.leaderboard.scoring import score
from refkit.structures import Prediction

evaluate_weights = test
test.__test__ = False


def run_json(folder):
    return json.loads((folder / "run.json").read_text())


def test_runner_metrics_equal_those_of_refkit_score(reference, tmp_path):
    from engine_toy import SquaresDataset

    dataset = SquaresDataset(count=7, first=100)
    records = [dataset.record(index) for index in range(7)]
    header = Header("squares", "toy", "n100")
    write_records(tmp_path / "squares.jsonl", header, records)
    result = score(
        tmp_path / "squares.jsonl", reference / "predictions" / "squares.toy.n100.jsonl", by="kind"
    )
    metrics = run_json(reference)["metrics"]
    for name, cell in result.metrics.items():
        assert metrics[f"rec/{name}"] == cell.value
    for kind, cell in result.by["kind"].items():
        assert metrics[f"rec/acc50/{kind}"] == cell.metrics["acc50"].value
    assert 0 < metrics["rec/miou"] < 1


def test_checkpoint_evaluates_to_the_metrics_of_its_validation(reference, toy_config, tmp_path):
    """Validation used the averaged weights; a checkpoint offers the same ones to whoever loads it."""
    weights = reference / "iter_18.pth"
    metrics = evaluate_weights(load_config(toy_config), weights, tmp_path / "test")
    assert metrics == run_json(reference)["metrics"]
    evaluation = run_json(tmp_path / "test")["evaluation"]
    assert evaluation["checkpoint"] == f"sha256:{(reference / 'iter_18.pth.sha256').read_text().split()[0]}"
    saved = torch.load(weights)
    assert not torch.equal(saved["state_dict"]["head.weight"], saved["ema_state_dict"]["module.head.weight"])
    assert (tmp_path / "test" / "pictures" / "test.png").is_file()


def test_moving_average_is_the_formula(runs, tmp_path):
    """ema ← (1 − m) · ema + m · weights after every iteration, first value copied."""
    common = (
        "train_cfg.max_epochs=1",
        "default_hooks.checkpoint.interval_iters=1",
        "default_hooks.checkpoint.keep=9",
    )
    runs.finish(tmp_path / "run", *common)
    averaged = None
    for iteration in range(1, 7):
        saved = torch.load(tmp_path / "run" / f"iter_{iteration}.pth")
        weights = saved["ema_state_dict"]["module.head.weight"]  # swapped: the plain weights stand there
        averaged = weights.clone() if averaged is None else torch.lerp(averaged, weights, 0.2)
        torch.testing.assert_close(saved["state_dict"]["head.weight"], averaged, rtol=1e-6, atol=1e-7)


def test_best_weights_are_those_of_the_best_epoch(reference, toy_config, tmp_path):
    metrics = evaluate_weights(load_config(toy_config), reference / "best_rec_miou.pth", tmp_path / "best")
    hub = torch.load(reference / "iter_18.pth")["message_hub"]["runtime_info"]
    logged = [
        json.loads(line) for line in next(reference.glob("*/vis_data/scalars.json")).read_text().splitlines()
    ]
    assert metrics["rec/miou"] == max(entry["rec/miou"] for entry in logged if "rec/miou" in entry)
    assert hub["best_score"] <= metrics["rec/miou"]


def test_run_json_says_what_the_run_was(reference):
    run = run_json(reference)
    assert run["status"] == "finished" and run["iterations"] == 18 and run["epochs"] == 3
    assert len(run["config"]["hash"]) == 16 and run["seed"] == 0 and run["processes"] == 1
    assert run["versions"]["torch"] == torch.__version__.split("+")[0] or run["versions"]["torch"]
    assert run["data"]["train"]["samples"] == 11 and len(run["data"]["val"]["digest"]) > 32
    assert run["evaluation"] == {"iteration": 18, "epoch": 3, "stage": "", "precision": "float32"}
    assert [entry["epoch"] for entry in run["history"]] == [1, 2, 3]
    assert run["history"][-1]["metrics"] == run["metrics"]
    environment = json.loads((reference / "environment.json").read_text())
    assert "PyTorch" in environment and environment["processes"] == 1


def test_log_is_early_quiet_and_complete(reference, runs):
    log = runs.log(reference)
    lines = [line for line in log.splitlines() if "INFO" in line or "WARN" in line]
    first = next(line for line in lines if "Epoch(train)" in line)
    assert lines.index(first) <= 2
    assert "[1][1/6]" in first
    for what in ("lr:", "time:", "memory:", "loss_box:", "grad_norm:"):
        assert what in first
    assert "WARNING" not in log
    assert list(reference.glob("*/vis_data/events.out.tfevents.*"))


def test_pictures_show_annotation_and_prediction(reference):
    pages = sorted((reference / "pictures").glob("val_*.png"))
    assert [page.name for page in pages] == ["val_12.png", "val_18.png", "val_6.png"]
    pixels = np.asarray(Image.open(pages[0]).convert("RGB")).reshape(-1, 3)
    for colour in ((213, 94, 0), (0, 114, 178)):
        assert (pixels == colour).all(1).sum() > 100


def test_bfloat16_evaluation_is_recorded(reference, toy_config, tmp_path):
    config = load_config(toy_config)
    config.test_cfg.precision = "bfloat16"
    metrics = evaluate_weights(config, reference / "iter_18.pth", tmp_path / "test")
    assert metrics["rec/miou"] == pytest.approx(run_json(reference)["metrics"]["rec/miou"], abs=0.02)
    assert metrics["rec/miou"] != run_json(reference)["metrics"]["rec/miou"]
    assert run_json(tmp_path / "test")["evaluation"]["precision"] == "bfloat16"
    header = json.loads(
        (tmp_path / "test" / "predictions" / "squares.toy.n100.jsonl").read_text().splitlines()[0]
    )
    assert header["settings"] == {"precision": "bfloat16"}


def test_damaged_foreign_or_absent_weights_are_refused(reference, toy_config, tmp_path):
    from refkit.backbones.state import WeightError
    from refkit.engine import CheckpointError

    with pytest.raises(ConfigError, match="no such weights file"):
        evaluate_weights(load_config(toy_config), tmp_path / "absent.pth", tmp_path / "a")
    for suffix in ("", ".sha256"):
        (tmp_path / f"torn.pth{suffix}").write_bytes((reference / f"iter_18.pth{suffix}").read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="does not match its checksum"):
        evaluate_weights(load_config(toy_config), tmp_path / "torn.pth", tmp_path / "b")
    torch.save({"state_dict": {"other.weight": torch.zeros(2)}}, tmp_path / "other.pth")
    with pytest.raises(WeightError, match=r"backbone\.weight"):
        evaluate_weights(load_config(toy_config), tmp_path / "other.pth", tmp_path / "c")


def test_initial_weights_with_named_allowance(reference, toy_config, tmp_path):
    from refkit.backbones.state import WeightError

    state = torch.load(reference / "iter_18.pth")["state_dict"]
    torch.save(
        {"state_dict": {k: v for k, v in state.items() if not k.startswith("head")}}, tmp_path / "part.pth"
    )
    options = [
        f"load_from={tmp_path / 'part.pth'}",
        "train_cfg.max_epochs=1",
        "optim_wrapper.optimizer.lr=0.0",
    ]
    with pytest.raises(WeightError, match=r"head\.weight"):
        train(load_config(toy_config, options), tmp_path / "a")
    train(load_config(toy_config, [*options, "load_allow_missing=[head.*]"]), tmp_path / "b")
    kept = torch.load(tmp_path / "b" / "iter_6.pth")["state_dict"]
    assert torch.equal(kept["backbone.weight"], state["backbone.weight"])


def test_diverging_training_stops_with_advice(toy_config, tmp_path):
    options = ["optim_wrapper.optimizer.lr=1e30", "optim_wrapper.clip_grad=None", "train_cfg.max_epochs=9"]
    with pytest.raises(TrainingDivergedError, match="lower the learning rate"):
        train(load_config(toy_config, options), tmp_path / "run")


def test_losses_wait_on_the_device_until_flushed(toy_config, tmp_path):
    from types import SimpleNamespace

    from mmengine.logging import MessageHub

    hub = MessageHub("lean", log_scalars={})
    runner = SimpleNamespace(iter=0, message_hub=hub, optim_wrapper=SimpleNamespace())
    hook = LeanRuntimeInfoHook(interval=5, history=8)
    for runner.iter in range(14):
        hook.after_train_iter(runner, 0, outputs={"loss": torch.tensor(float(runner.iter))})
        assert (
            len(hub.log_scalars.get("train/loss", SimpleNamespace(data=[[]])).data[0])
            == [0, 5, 8][(runner.iter + 1) // 5]
        )
    hook.flush_logs(runner)
    assert hub.get_scalar("train/loss").data[0].tolist() == list(map(float, range(6, 14)))


def spool(*predictions):
    answers = AnswerSpool()
    for prediction in predictions:
        answers.add(prediction)
    return answers


def test_gathering_refuses_anything_but_one_prediction_per_sample():
    from engine_toy import SquaresDataset

    records = [SquaresDataset(count=3).record(index) for index in range(3)]
    ids = [record.id for record in records]
    good = [Prediction(key) for key in ids]
    check_ids(ids, spool(*good[::-1]))
    with pytest.raises(EvaluationError, match=r"of 3 samples: 1 not predicted \(such as 's2'\)"):
        check_ids(ids, spool(*good[:2]))
    with pytest.raises(EvaluationError, match="1 predicted more than once"):
        check_ids(ids, spool(*good, good[0]))
    with pytest.raises(EvaluationError, match="1 not in the data set"):
        check_ids(ids, spool(*good, Prediction("x")))
    metric = ProtocolMetric()
    with pytest.raises(EvaluationError, match="2 predictions for a batch of 3"):
        metric.process({"data_samples": records}, good[:2])
    with pytest.raises(EvaluationError, match="works inside EvalLoop"):
        metric.compute_metrics(spool(*good))


@pytest.mark.parametrize("count", [0, 1, 7, 8])
@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_whole_batches_cover_everything_once(count, ranks):
    from types import SimpleNamespace

    alone = list(WholeBatchSampler(SimpleNamespace(dataset=range(count)), 3))
    shares = []
    for rank in range(ranks):
        sampler = WholeBatchSampler(SimpleNamespace(dataset=range(count)), 3)
        sampler.rank, sampler.ranks = rank, ranks
        assert len(sampler) == len(list(sampler))
        shares.append(list(sampler))
    assert sorted(batch for share in shares for batch in share) == alone
    assert sorted(index for batch in alone for index in batch) == list(range(count))


@pytest.mark.parametrize(
    "build",
    [
        lambda: SafeCheckpointHook(keep=1),
        lambda: SafeCheckpointHook(rule="best"),
        lambda: LeanRuntimeInfoHook(interval=0),
        lambda: SamplePicturesHook(count=-1),
    ],
)
def test_hooks_refuse_senseless_settings(build):
    with pytest.raises(ValueError, match="Hook"):
        build()


def test_unknown_best_metric_is_an_error(toy_config, tmp_path):
    with pytest.raises(ConfigError, match="rec/acc51"):
        train(load_config(toy_config, ["default_hooks.checkpoint.save_best=rec/acc51"]), tmp_path / "run")


def test_progress_bar_counts_from_where_training_starts(monkeypatch, capsys):
    from types import SimpleNamespace

    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    hook = ProgressHook()
    console = logging.StreamHandler()
    logger = SimpleNamespace(handlers=[console])
    loop = SimpleNamespace(stage="hilora-1")
    runner = SimpleNamespace(max_iters=10, iter=4, epoch=0, max_epochs=1, logger=logger, train_loop=loop)
    hook.before_train(runner)
    hook.after_train_iter(runner, 0)
    assert hook._training.desc.startswith("train hilora-1, epoch 1/1")
    assert hook._training.initial == 4 and hook._training.total == 10
    console.stream.write("a line above the bar\n")
    assert "a line above the bar\n" in capsys.readouterr().err
    hook.after_train(runner)


def test_config_without_evaluation_sets_says_so(toy_config, reference, tmp_path):
    config = load_config(toy_config)
    config.test_dataloader = config.val_dataloader = None
    with pytest.raises(ConfigError, match="nothing to evaluate"):
        evaluate_weights(config, reference / "iter_18.pth", tmp_path / "x")
    config = load_config(toy_config)
    config.test_dataloader = config.test_cfg = config.test_evaluator = None
    metrics = evaluate_weights(config, reference / "iter_18.pth", tmp_path / "y")
    assert metrics == run_json(reference)["metrics"]


def test_data_root_seed_and_determinism_come_from_the_command_line(toy_config, tmp_path, monkeypatch):
    monkeypatch.setenv("REFKIT_DATA", "unset")
    config = prepare_config(toy_config, data_root=tmp_path, seed=4, deterministic=True)
    assert config.randomness == {"seed": 4, "deterministic": True}
    import os

    assert os.environ["REFKIT_DATA"] == str(tmp_path)
    with pytest.raises(ConfigError, match="no such folder"):
        prepare_config(toy_config, data_root=tmp_path / "absent")


def test_command_line_trains_and_tests(toy_config, tmp_path):
    import typer

    from refkit.cli import test as test_module
    from refkit.cli import train as train_module

    app = typer.Typer()
    app.command("train")(train_module.command)
    app.command("test")(test_module.command)
    work = ["--work-dir", str(tmp_path / "run")]
    trained = CliRunner().invoke(
        app, ["train", str(toy_config), *work, "--cfg-options", "train_cfg.max_epochs=1"]
    )
    assert trained.exit_code == 0, trained.output
    tested = CliRunner().invoke(app, ["test", str(toy_config), str(tmp_path / "run" / "iter_6.pth"), *work])
    assert json.loads(tested.stdout.splitlines()[-1]) == run_json(tmp_path / "run")["metrics"]


@pytest.mark.parametrize("tool", ["train", "test"])
def test_tools_print_errors_without_traceback(tool, repository, toy_config, reference, tmp_path, monkeypatch):
    weights = [str(reference / "iter_18.pth")] if tool == "test" else []
    arguments = [str(toy_config), *weights, "--work-dir", str(tmp_path), "--cfg-options", "model.widht=8"]
    monkeypatch.setattr(sys, "argv", [tool, *arguments])
    with pytest.raises(SystemExit, match=r"^error: .*Did you mean model\.width or"):
        runpy.run_path(str(repository / "tools" / f"{tool}.py"), run_name="__main__")


def test_tool_evaluates(repository, toy_config, reference, tmp_path, monkeypatch, capsys):
    arguments = [str(toy_config), str(reference / "iter_18.pth"), "--work-dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["test", *arguments])
    runpy.run_path(str(repository / "tools" / "test.py"), run_name="__main__")
    assert f"rec/miou: {run_json(reference)['metrics']['rec/miou']:.4f}" in capsys.readouterr().out


def test_evaluation_loader_config_gets_exact_samplers():
    from refkit.engine.loops import _deal_whole_batches

    config = _deal_whole_batches({"batch_size": 2})
    assert config["batch_sampler"]["type"] is WholeBatchSampler and config["batch_size"] == 2
    assert EvalLoop.__mro__.index(EvalLoop) == 0
