"""Whole tables of a toy model: kept runs, failures, resuming after a kill, the command line."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest
from ablation_tables import ROWS, TOY, write_table
from PIL import Image

from refkit.engine.ablation import TableError, Wishes, make_table, read_table
from refkit.engine.ablation.estimate import describe_machine
from refkit.engine.ablation.process import Job, execute
from refkit.engine.ablation.run import Run, recipe
from refkit.engine.ablation.store import Pace, Store
from refkit.engine.ablation.table import Row

HERE = Path(__file__).resolve().parent
ENGINE_TESTS = str(HERE.parent)


def make(file, folder, **wishes):
    told: list[str] = []
    summaries = make_table(read_table(file), folder, Wishes(**wishes), told.append)
    return summaries, told


def results(folder):
    return {
        f"{path.parent.name}/{path.stem}": json.loads(path.read_text("utf-8"))
        for path in sorted(folder.glob("runs/*/seed*.json"))
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A table with two good rows and one that diverges, two seeds, made two runs at a time."""
    folder = tmp_path_factory.mktemp("made")
    file = write_table(folder)
    summaries, told = make(file, folder / "out", jobs=2, command="python tools/ablate.py rates.py")
    return file, folder / "out", summaries, told


def test_every_run_is_kept_with_what_it_was(made):
    _, out, _, _ = made
    kept = results(out)
    assert sorted(kept) == [f"{row}/seed{seed}" for row in ("base", "broken", "slow") for seed in (0, 1)]
    for name, run in kept.items():
        assert run["status"] == ("failed" if name.startswith("broken") else "finished")
        assert (run["iterations"], run["parallel"]) == (6, 2)
    good = kept["base/seed1"]
    assert good["fingerprint"] == Run(Row("base", "", str(TOY)), 1, 6).fingerprint()
    assert good["metrics"]["rec/miou"] > 0 and good["seconds"] > 6 * good["seconds_per_iteration"] > 0
    record = json.loads((out / "runs/base/seed1/run.json").read_text("utf-8"))
    assert record["seed"] == 1 and record["iterations"] == 6
    assert record["metrics"] == pytest.approx(good["metrics"])
    assert not list(out.glob("runs/*/*/*.pth")), "checkpoints of finished runs are not kept"


def test_duration_is_told_before_the_first_run(made):
    told = made[3]
    expected = next(place for place, line in enumerate(told) if line.startswith("expected duration: "))
    first = next(place for place, line in enumerate(told) if line.startswith("1/6 "))
    assert expected < first
    assert "6 of 6 runs to do; 2 at a time; 6 iterations per run, for all rows" in told
    assert any("  slow: " in line and "ms per iteration" in line for line in told[:expected])


def test_a_failing_row_is_reported_and_does_not_stop_the_others(made):
    _, out, summaries, told = made
    assert [len(row.failed) for row in summaries] == [0, 0, 2]
    text = (out / "table.md").read_text("utf-8")
    assert "| lr far too high | failed (2) | – | failed (2) | – | 0 | – |" in text
    assert "lr far too high, seed 0, failed:" in text and "TrainingDivergedError" in text
    assert any("broken, seed 1: failed: " in line for line in told)


def test_written_files_agree(made):
    _, out, summaries, _ = made
    content = json.loads((out / "table.json").read_text("utf-8"))
    kept = results(out)
    base, slow, broken = content["rows"]
    assert base["metrics"]["rec/miou"]["values"] == {
        str(seed): pytest.approx(100 * kept[f"base/seed{seed}"]["metrics"]["rec/miou"]) for seed in (0, 1)
    }
    gap = slow["metrics"]["rec/miou"]["difference"]
    assert gap["mean"] == pytest.approx(
        slow["metrics"]["rec/miou"]["mean"] - base["metrics"]["rec/miou"]["mean"]
    )
    assert f"{summaries[1].cells['rec/miou'].mean:.2f} ± " in (out / "table.md").read_text("utf-8")
    assert broken["metrics"] == {} and len(broken["failed"]) == 2
    assert content["command"] == "python tools/ablate.py rates.py" and content["machines"] == [
        describe_machine()
    ]
    assert Image.open(out / "table.png").width > 300
    assert len((out / "table.csv").read_text("utf-8").splitlines()) == 1 + 2 * 2


def test_only_what_is_missing_or_changed_is_run_again(made, tmp_path):
    file, out, _, _ = made
    before = results(out)
    _, told = make(file, out, jobs=2, only=["base", "slow"])
    assert told[0] == "all 4 runs are finished, nothing to do"
    assert results(out) == before
    changed = [ROWS[0], {**ROWS[1], "options": {"optim_wrapper.optimizer.lr": 0.002}}]
    summaries, told = make(write_table(tmp_path, rows=changed), out, only=["slow"], seeds=1)
    assert told[0].startswith("1 of 2 runs to do; 1 at a time")
    after = results(out)
    assert {name for name in before if before[name] != after[name]} == {"slow/seed0"}
    assert [len(row.results) for row in summaries] == [1, 1]


def test_rows_with_the_same_seed_are_the_same_run(made, tmp_path):
    """With as many cores, a run depends on its settings alone, not on its name, its place, or its neighbours."""
    _, out, _, _ = made
    make(write_table(tmp_path, rows=[dict(name="again")]), tmp_path / "out", seeds=1, jobs=2)
    assert results(tmp_path / "out")["again/seed0"]["metrics"] == results(out)["base/seed0"]["metrics"]


def test_broken_rows_are_found_before_anything_runs(tmp_path):
    rows = [ROWS[0], dict(name="typo", options={"model.wdth": 3})]
    with pytest.raises(ValueError, match=r"model\.wdth is not in the config.*model\.width"):
        make(write_table(tmp_path, rows=rows), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_results_are_named(tmp_path):
    file, folder = write_table(tmp_path, rows=[ROWS[0]]), tmp_path / "out" / "runs" / "base"
    folder.mkdir(parents=True)
    (folder / "seed0.json").write_text('{"row": "base"', "utf-8")
    with pytest.raises(TableError, match=r"seed0\.json: damaged .*delete it"):
        make(file, tmp_path / "out")
    (folder / "seed0.json").write_text('{"row": "base"}', "utf-8")
    with pytest.raises(TableError, match=r"seed0\.json: written by another version"):
        make(file, tmp_path / "out")


def test_a_budget_in_seconds_is_decided_once(tmp_path):
    file, store = write_table(tmp_path, rows=[ROWS[0]], seeds=1), Store(tmp_path / "out")
    kind = recipe(read_table(file).rows[0])
    store.keep_pace("base", Pace(kind, describe_machine(), 1, 1.0, 2.0))
    (row,), told = make(file, store.folder, seconds=8.9)
    assert row.results[0].iterations == 6
    assert "expected duration: 8 s" in told
    store.keep_pace("base", Pace(kind, describe_machine(), 1, 0.1, 2.0))
    _, told = make(file, store.folder, seconds=8.9)
    assert told[0] == "all 1 runs are finished, nothing to do"
    text = (store.folder / "table.md").read_text("utf-8")
    assert "6 iterations per run, for all rows: what the slowest does in 8.9 s" in text
    with pytest.raises(TableError, match="leaves no time to train"):
        make(file, tmp_path / "other", seconds=0.001)


def test_rows_begin_with_the_weights_of_their_start(tmp_path):
    still = {"optim_wrapper.optimizer.lr": 0.0}
    rows = [dict(name="alone", options=still), dict(name="after", options=still, start="warm")]
    file = write_table(tmp_path, rows=rows, starts=[dict(name="warm", times=2)], seeds=1)
    (alone, after), told = make(file, tmp_path / "out")
    assert told[0].startswith("2 of 2 runs to do, first 1 for their starts; 1 at a time")
    started = json.loads((tmp_path / "out/starts/warm/seed0.json").read_text("utf-8"))
    assert started["iterations"] == 12 and after.results[0].iterations == 6
    assert "starts/warm/seed0.weights.pth" in (tmp_path / "out/runs/after/seed0.log").read_text("utf-8")
    assert after.results[0].metrics["rec/miou"] != alone.results[0].metrics["rec/miou"]
    assert "- Start of after: warm, 12 iterations" in (tmp_path / "out/table.md").read_text("utf-8")


def test_rows_fail_with_their_start(tmp_path):
    broken = dict(name="warm", times=1, options={"optim_wrapper.optimizer.lr": 1e30})
    file = write_table(tmp_path, rows=[dict(name="after", start="warm")], starts=[broken], seeds=1)
    (row,), told = make(file, tmp_path / "out")
    assert row.failed[0].reason.startswith("start warm, seed 0 failed:\n")
    assert "TrainingDivergedError" in row.failed[0].reason
    assert not (tmp_path / "out/runs/after/seed0").exists()
    assert any("start warm, seed 0: failed: " in line for line in told)


def test_a_run_ends_when_nobody_listens(tmp_path):
    context = get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    job = Job(Run(Row("a", "a", str(TOY)), 0, 6), tmp_path / "run", tmp_path / "run.log")
    process = context.Process(target=execute, args=(job, sender))
    receiver.close()
    process.start()
    sender.close()
    process.join(60)
    assert process.exitcode == 1
    assert "BrokenPipeError" in (tmp_path / "run.log").read_text("utf-8")
    assert json.loads((tmp_path / "run/run.json").read_text("utf-8"))["status"] == "training"


def command(*arguments):
    return [sys.executable, str(HERE.parents[2] / "tools" / "ablate.py"), *map(str, arguments)]


def test_a_killed_table_goes_on_where_it_was(tmp_path):
    file, out = write_table(tmp_path, rows=ROWS[:1], seeds=4), tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": ENGINE_TESTS, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command(file, "--out", out), env=environment, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    for line in process.stdout:
        if line.startswith("2/4 "):
            break
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    first = results(out)
    assert {"base/seed0", "base/seed1"} <= first.keys() and len(first) < 4
    (row,), told = make(file, out)
    assert told[0].startswith(f"{4 - len(first)} of 4 runs to do")
    assert len(row.results) == 4
    assert {name: run for name, run in results(out).items() if name in first} == first


def run_tool(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", command(*arguments)[1:])
    runpy.run_path(sys.argv[0], run_name="__main__")


def test_tool_leaves_with_one_if_a_run_failed(made, monkeypatch, capsys):
    file, out, _, _ = made
    with pytest.raises(SystemExit) as end:
        run_tool(monkeypatch, file, "--out", out, "--only", "broken", "--seeds", "1")
    assert end.value.code == "runs that failed: 1; the table says why, the same command tries them again"
    assert "1 of 3 runs to do" in capsys.readouterr().out


def test_tool_says_what_is_wrong_without_a_traceback(made, monkeypatch, capsys):
    file, out, _, _ = made
    with pytest.raises(SystemExit) as end:
        run_tool(monkeypatch, file, "--out", out, "--only", "slowly")
    assert end.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and "did you mean slow?" in told and "Traceback" not in told
