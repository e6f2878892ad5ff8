"""The benchmark runs from a config to a report on tiny sizes; nothing here depends on how long anything takes."""

import json
import runpy
import sys

import pytest
import torch
from tiny_grounder import PIPELINE, model_config, write_tiny_records

from refkit.engine.config import load_config
from refkit.inference.benchmark.counting import count_work
from refkit.inference.benchmark.run import BenchmarkOptions, run_benchmark
from refkit.inference.benchmark.subject import BenchmarkError, Subject

OPTIONS = BenchmarkOptions(batch_size=4, repeats=2, sides=(32, 64), progress=False)
CPU = torch.device("cpu")


def write_config(folder, records="absent.jsonl", **changes):
    dataset = {"type": "ReferringDataset", "records": str(records), "pipeline": PIPELINE}
    if records != "absent.jsonl":
        dataset["image_root"] = str(records.parent / "pictures")
    optimizer = {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.0}
    parts = {
        "model": model_config(),
        "train_dataloader": {"dataset": dataset},
        "val_dataloader": {"dataset": dataset},
        "optim_wrapper": {"type": "AutocastOptimWrapper", "optimizer": optimizer},
        "default_scope": "refkit",
    } | changes
    path = folder / "tiny_benchmark.py"
    path.write_text("\n".join(f"{name} = {value!r}" for name, value in parts.items()))
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    config = load_config(write_config(tmp_path_factory.mktemp("config")))
    return run_benchmark(config, CPU, OPTIONS)


def test_every_activity_is_measured_in_both_precisions(report):
    found = [(row.activity, row.precision) for row in report.measurements]
    computed = [
        (name, precision) for name in ("evaluation", "training step") for precision in ("float32", "bfloat16")
    ]
    assert found == [("loading", "-"), *computed]
    assert report.config == "tiny_benchmark"
    assert report.note.startswith("Drawn 640 x 480 pictures")


def test_rates_and_shares_follow_from_the_reported_numbers(report):
    for row in report.measurements[1:]:
        assert row.samples_per_second == pytest.approx(4 / row.seconds)
        assert row.gflops == pytest.approx(2 * row.gmac_per_sample * 4 / row.seconds)
        assert row.share_of_peak == pytest.approx(row.gflops / report.peak_gflops)
        assert row.peak_memory > 0
        assert row.share_of_turn >= 0.999 * row.share_of_peak * row.seconds / row.spread[1]
    assert report.peak_gflops >= max(rate.best for rate in report.products["float32"][:2])
    assert 0 < report.quiet <= 1


def test_training_costs_more_arithmetic_than_evaluation_and_both_are_exact(report, tmp_path):
    evaluation, training = (
        report.find(name, "float32").gmac_per_sample for name in ("evaluation", "training step")
    )
    subject = Subject(load_config(write_config(tmp_path)), 4, CPU, tmp_path)
    inputs = subject.model.data_preprocessor(subject.test_batch)["inputs"]
    everything = count_work(lambda: subject.model(inputs, mode="tensor")).gmac / 4
    assert 2 < training / everything < 3.2
    assert evaluation < everything  # it ends at [REG]
    # 32 x 32 pictures in 8 x 8 patches: 17 tokens of width 16 in 2 blocks of 12 x 16² products, and attention
    vision = 2 * (17 * 12 * 16 * 16 + 2 * 17 * 17 * 16) + 16 * 16 * 3 * 8 * 8
    assert 1e9 * evaluation > vision
    assert 1e9 * evaluation < 2.2 * vision


def test_the_configs_own_data_are_used_where_they_are(tmp_path):
    records = write_tiny_records(tmp_path / "data", 5)
    config = load_config(write_config(tmp_path, records))
    subject = Subject(config, 4, CPU, tmp_path)
    assert subject.note == "Data of the config."
    assert subject.loading()()["inputs"]["images"].shape == (4, 3, 32, 32)
    with pytest.raises(BenchmarkError, match="5 samples do not fill a batch of 6"):
        Subject(config, 6, CPU, tmp_path)


def test_a_training_step_changes_the_weights_and_an_evaluation_does_not(tmp_path):
    subject = Subject(load_config(write_config(tmp_path)), 2, CPU, tmp_path)
    before = [parameter.clone() for parameter in subject.model.parameters()]
    subject.model.eval()
    subject.evaluation("bfloat16")()
    assert all(torch.equal(old, new) for old, new in zip(before, subject.model.parameters(), strict=True))
    subject.training_step("float32")()
    assert any(not torch.equal(old, new) for old, new in zip(before, subject.model.parameters(), strict=True))


def test_a_config_without_a_part_is_named(tmp_path):
    config = load_config(write_config(tmp_path, optim_wrapper=None))
    with pytest.raises(BenchmarkError, match=r"tiny_benchmark\.py: no 'optim_wrapper'"):
        Subject(config, 2, CPU, tmp_path)


def test_the_tool_prints_a_table_and_writes_json(tmp_path, repository, monkeypatch, capsys):
    config, out = write_config(tmp_path), tmp_path / "report.json"
    options = "--device cpu --batch-size 2 --repeats 1 --threads 1 --precision float32 --sides 64"

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmark.py", *map(str, arguments)])
        runpy.run_path(str(repository / "tools" / "benchmark.py"), run_name="__main__")

    run("--config", config, "--json", out, *options.split())
    assert "training step" in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content["machine"]["threads"] == 1
    assert content["speedup_bfloat16"] == {"training step": None, "evaluation": None}
    with pytest.raises(SystemExit, match="error: no config 'no/such'"):
        run("--config", "no/such")
    with pytest.raises(SystemExit, match="are at least 1"):
        run("--config", config, "--repeats", 0)
