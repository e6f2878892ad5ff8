"""Means, spreads, paired differences and the written table, against numbers worked out by other means."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from refkit.engine.ablation.chart import draw_chart
from refkit.engine.ablation.report import Circumstances, as_csv, markdown
from refkit.engine.ablation.store import RunResult
from refkit.engine.ablation.summary import paired_difference, summarise
from refkit.engine.ablation.table import Metric, Row, Table, TableError

METRICS = (Metric("acc", "Acc", percent=True), Metric("loss", "Loss"))
ROWS = tuple(Row(name, f"row {name}", "c.py") for name in "abcd")
ACC = {"a": [0.40, 0.44, 0.42], "b": [0.45, 0.48, 0.475], "c": [0.41, 0.43, 0.425]}


def result(row, seed, acc, status="finished"):
    metrics = {"acc": acc, "loss": 1 - acc} if status == "finished" else {}
    place = {"machine": "a machine", "code": "abc", "threads": 1, "parallel": 2, "ended": ""}
    return RunResult(
        row,
        seed,
        9,
        "f",
        "r",
        status,
        metrics,
        60.0 + seed,
        0.1,
        **place,
        reason="log, exit code 1\nBoom: no",
    )


@pytest.fixture
def summaries():
    runs = [result(row, seed, acc) for row, values in ACC.items() for seed, acc in enumerate(values)]
    return summarise(ROWS, METRICS, [*runs, result("d", 0, 0.0, "failed")])


def test_mean_and_deviation(summaries):
    for summary in summaries[:3]:
        cell, values = summary.cells["acc"], 100 * np.array(ACC[summary.row.name])
        assert cell.mean == pytest.approx(values.mean())
        assert cell.deviation == pytest.approx(stats.tstd(values))
        assert summary.cells["loss"].mean == pytest.approx(1 - values.mean() / 100)
        assert summary.seconds == 61.0


def test_differences_are_paired_by_seed(summaries):
    assert summaries[0].cells["acc"].difference is None
    for summary, verdict in zip(summaries[1:3], ("beyond noise", "within noise"), strict=True):
        gap = summary.cells["acc"].difference
        paired = stats.ttest_rel(100 * np.array(ACC[summary.row.name]), 100 * np.array(ACC["a"]))
        assert gap.mean / gap.standard_error == pytest.approx(paired.statistic)
        assert gap.verdict == verdict
    assert summaries[2].cells["loss"].difference.mean == pytest.approx(
        -summaries[2].cells["acc"].difference.mean / 100
    )


def test_only_common_seeds_are_compared():
    gap = paired_difference({0: 2.0, 1: 9.0, 2: 4.0}, {0: 1.0, 2: 1.0, 5: 100.0})
    assert (gap.mean, gap.seeds) == (2.0, 2)
    assert gap.standard_error == pytest.approx(1.0)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    assert paired_difference({0: 1.0}, {0: 5.0}).verdict == "one seed: noise unknown"
    assert paired_difference({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}).verdict == "within noise"
    assert paired_difference({0: 2.0, 1: 3.0}, {0: 1.0, 1: 2.0}).verdict == "beyond noise"


def test_a_metric_that_no_run_has_is_named():
    with pytest.raises(TableError, match="no 'rec/acc' in the runs of row a; there are acc, loss"):
        summarise(ROWS, [Metric("rec/acc", "Acc")], [result("a", 0, 0.5)])


def test_markdown_says_everything(summaries):
    table = Table("t.py", "Four rows", ROWS, METRICS, 3, 9, None)
    text = markdown(
        table, summaries, [], Circumstances("9 iterations", 9, 3, 2, "python tools/ablate.py t.py")
    )
    assert "| row a | 42.00 ± 2.00 | – | 0.58 ± 0.02 | – | 3 | 61 |" in text
    assert "| row b | 46.83 ± 1.61 | +4.83 ± 0.44, beyond noise | " in text
    assert "+0.17 ± 0.60, within noise" in text
    assert "| row d | failed (1) | – | failed (1) | – | 0 | – |" in text
    assert "row d, seed 0, failed:" in text and "Boom: no" in text
    for part in ("9 iterations", "a machine; 2 runs side by side", "abc", "`python tools/ablate.py t.py`"):
        assert part in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {8}


def test_markdown_says_what_rows_begin_with(summaries):
    rows = [Row("b", "b", "c.py", start="a"), Row("c", "third", "c.py", start="a"), Row("d", "d", "c.py")]
    table = Table("t.py", "Rows", tuple(rows), METRICS, 3, 9, None)
    text = markdown(table, summaries[1:], summaries[:1], Circumstances("", 9, 3, 2, ""))
    line = "- Start of b, third: row a, 9 iterations, one run for each seed, 61 s each; Acc (%) 42.00 ± 2.00, Loss"
    assert line in text


def test_csv_has_every_number(summaries):
    lines = list(csv.DictReader(io.StringIO(as_csv(METRICS, summaries))))
    assert [(line["row"], line["metric"]) for line in lines] == [
        (r, m) for r in "abc" for m in ("acc", "loss")
    ]
    second = lines[2]
    assert float(second["mean"]) == summaries[1].cells["acc"].mean
    assert float(second["difference"]) == summaries[1].cells["acc"].difference.mean
    assert second["verdict"] == "beyond noise" and lines[0]["difference"] == ""


def test_chart_has_a_bar_for_each_row_with_runs(summaries, tmp_path):
    full = Image.open(draw_chart(tmp_path / "four.png", "t", METRICS[0], summaries)).convert("RGB")
    fewer = Image.open(draw_chart(tmp_path / "two.png", "t", METRICS[0], summaries[1:3])).convert("RGB")
    assert bars(full) == 3 and bars(fewer) == 2


def bars(picture):
    """Runs of bar-coloured pixels down a column in the left part of the plot."""
    pixels = np.asarray(picture).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0] > 40).sum(axis=0)
    column = pixels[:, int(np.argmax(blue))]
    inside = column[:, 2] - column[:, 0] > 40
    return int((np.diff(inside.astype(int)) == 1).sum())
