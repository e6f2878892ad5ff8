"""Table configs: what they say, and what is refused."""

from __future__ import annotations

import pytest
from ablation_tables import ROWS, TOY, write_table

from refkit.engine.ablation import TableError, Wishes, read_table
from refkit.engine.ablation.run import Run, recipe
from refkit.engine.ablation.table import Row
from refkit.engine.config import ConfigError


def test_rows_metrics_and_budget(tmp_path):
    table = read_table(write_table(tmp_path, _shared=3))
    assert [row.name for row in table.rows] == ["base", "slow", "broken"]
    assert {row.config for row in table.rows} == {str(TOY)}
    assert (table.seeds, table.iterations, table.seconds) == (2, 6, None)
    assert [metric.heading for metric in table.metrics] == ["mIoU (%)", "Acc@0.5"]
    assert table.rows[1].load().optim_wrapper.optimizer.lr == 0.001
    assert read_table(write_table(tmp_path, budget=dict(seconds=60), seeds=None)).seconds == 60.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(rows=None), "missing or empty: rows"),
        (dict(budgets=3), "unknown: budgets"),
        (dict(rows=[ROWS[0], ROWS[0]]), "more than one is called base"),
        (dict(rows=[dict(name="a/b")]), "name='a/b'"),
        (dict(rows=[dict(label="nameless")]), "rows: expected dicts with name, label"),
        (dict(rows=[dict(name="a", option={})]), "no keys but name, label, config, options, start"),
        (dict(rows=[dict(name="a", options=["x=1"])]), "row a: options are a dict"),
        (dict(config=None), "row base: needs a config"),
        (dict(metrics=[dict(key="rec/miou")]), "metrics: expected dicts with key, label"),
        (dict(start="warm"), "row base: start='warm' is none of the starts: there are none"),
        (dict(starts=[dict(name="warm")]), "start warm: needs a name of its own and times=N"),
        (dict(starts=[dict(name="base", times=2)]), "more than one is called base"),
        (dict(seeds=0), "seeds=0: expected how many"),
        (dict(seeds=[1, 2]), "seeds="),
        (dict(budget=dict(iterations=2.5)), "budget="),
        (dict(budget=dict(iterations=10, seconds=5)), "budget="),
        (dict(budget=dict(minutes=5)), "budget="),
    ],
)
def test_broken_tables_are_refused(tmp_path, changes, message):
    file = write_table(tmp_path, **changes)
    with pytest.raises(TableError, match=message) as error:
        read_table(file)
    assert str(file) in str(error.value)


def test_unknown_rows_and_options_name_the_nearest(tmp_path):
    table = read_table(write_table(tmp_path))
    assert [row.name for row in table.choose(["broken", "base"])] == ["base", "broken"]
    with pytest.raises(TableError, match=r"no row 'bas'.*did you mean base"):
        table.choose(["bas"])
    with pytest.raises(ConfigError, match=r"optim_wrapper\.optimiser is not in the config.*optimizer"):
        Row("a", "a", str(TOY), {"optim_wrapper.optimiser.lr": 1}).load()
    with pytest.raises(ConfigError, match="expected a number"):
        Row("a", "a", str(TOY), {"optim_wrapper.optimizer.lr": "fast"}).load()


def test_wishes_out_of_range_are_refused():
    with pytest.raises(TableError, match="jobs: expected more than 0, got 0"):
        Wishes(jobs=0)
    with pytest.raises(TableError, match="either iterations or seconds"):
        Wishes(iterations=3, seconds=3)


def test_fingerprint_changes_with_everything_that_changes_the_run(tmp_path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"one")
    row = Row("a", "a", str(TOY), {"load_from": str(weights)})
    other = Row("b", "another name and label", str(TOY), row.options)
    first = Run(row, 0, 6).fingerprint()
    assert first == Run(other, 0, 6).fingerprint()
    changed = Row("a", "a", str(TOY), {**row.options, "model.width": 5})
    assert (
        len({first, *(run.fingerprint() for run in (Run(row, 1, 6), Run(row, 0, 9), Run(changed, 0, 6)))})
        == 4
    )
    assert recipe(row) == recipe(other) != recipe(changed)
    weights.with_name("v.safetensors").write_bytes(b"two")
    moved = Row("a", "a", str(TOY), {"load_from": str(weights.with_name("v.safetensors"))})
    assert Run(moved, 0, 6).fingerprint() != first


def test_fingerprint_changes_with_the_start_and_not_with_its_place(tmp_path):
    row = Row("a", "a", str(TOY))
    start = Run(row, 0, 30, weights=tmp_path / "w.pth")
    run = Run(row, 0, 6, start=start)
    assert run.config().load_from == str(tmp_path / "w.pth")
    moved = Run(row, 0, 6, start=Run(row, 0, 30, weights=tmp_path / "moved.pth"))
    longer = Run(row, 0, 6, start=Run(row, 0, 36, weights=tmp_path / "w.pth"))
    assert run.fingerprint() == moved.fingerprint()
    assert len({Run(row, 0, 6).fingerprint(), run.fingerprint(), longer.fingerprint()}) == 3
