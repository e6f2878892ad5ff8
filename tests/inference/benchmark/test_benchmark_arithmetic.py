"""The benchmark's arithmetic: multiply-adds, rates, shares, medians. Never how fast something is."""

import json
from io import StringIO

import pytest
import torch
from rich.console import Console

from refkit.inference.benchmark.counting import Work, count_work
from refkit.inference.benchmark.machine import (
    ProductRate,
    Yardstick,
    describe_machine,
    product_run,
    squares,
)
from refkit.inference.benchmark.report import BenchmarkReport, Measurement
from refkit.inference.benchmark.timing import (
    Timing,
    peak_memory,
    peak_tensor_bytes,
    time_interleaved,
)

CPU = torch.device("cpu")


def test_multiply_adds_of_a_linear_layer_and_of_attention_are_exact():
    layer = torch.nn.Linear(32, 16)
    work = count_work(lambda: layer(torch.randn(4, 10, 32)))
    assert work.macs == 4 * 10 * 32 * 16
    assert work.products == {(40, 32, 16): 1}
    heads = torch.randn(2, 3, 5, 8)  # (batch, heads, tokens, channels): two products of 5 × 5 × 8 per head
    attention = count_work(lambda: torch.nn.functional.scaled_dot_product_attention(heads, heads, heads))
    assert attention.macs == 2 * 3 * 2 * 5 * 5 * 8


def test_a_training_step_counts_its_backward_pass():
    layer = torch.nn.Linear(32, 16)
    inputs = torch.randn(4, 32, requires_grad=True)
    work = count_work(lambda: layer(inputs).sum().backward())
    assert work.macs == 3 * 4 * 32 * 16  # forward, gradient of the input, gradient of the weight


def test_batched_products_count_once_per_entry_and_the_largest_come_first():
    left, right = torch.randn(6, 4, 8), torch.randn(6, 8, 2)
    work = count_work(lambda: (left @ right, torch.randn(100, 50) @ torch.randn(50, 30)))
    assert work.products == {(4, 8, 2): 6, (100, 50, 30): 1}
    assert work.main_products(1) == [(100, 50, 30)]
    assert work.macs == 6 * 4 * 8 * 2 + 100 * 50 * 30


def test_a_rate_is_twice_the_volume_over_the_time():
    rate = ProductRate.of((1000, 1000, 1000), Timing((0.02, 0.01, 0.04)))  # 2 GFLOP
    assert rate.median == pytest.approx(100)
    assert rate.best == pytest.approx(200)


def test_the_peak_is_the_best_repeat_of_the_best_square_product():
    timings = {
        (1000, 1000, 1000): Timing((0.02, 0.01)),  # 100 and 200 GFLOP/s
        (500, 500, 500): Timing((0.0025, 0.0025)),  # 100 GFLOP/s
        (1000, 2000, 1000): Timing((0.001, 0.001)),  # faster, but not square
    }
    assert Yardstick.of(timings).turns == pytest.approx((100, 200))
    assert Yardstick.of(timings).peak == pytest.approx(200)
    with pytest.raises(ValueError, match="defined by square products"):
        Yardstick.of({(1000, 2000, 1000): Timing((1.0,))})


def test_product_run_computes_in_the_precision_asked_for():
    result = product_run((3, 5, 7), torch.bfloat16, CPU)()
    assert result.shape == (3, 7)
    assert result.dtype == torch.bfloat16
    assert squares((4, 8)) == [(4, 4, 4), (8, 8, 8)]


def test_runs_are_timed_in_turn_after_the_warm_up():
    calls = []
    runs = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    timings = time_interleaved(runs, repeats=2, warmup=1, progress=False)
    assert "".join(calls) == "ababab"
    assert [len(timing.seconds) for timing in timings.values()] == [2, 2]
    assert Timing((3.0, 1.0, 9.0)).median == 3.0
    with pytest.raises(ValueError, match="at least 1, got 0"):
        time_interleaved(runs, repeats=0)


def test_peak_memory_sees_what_a_run_holds_for_a_moment():
    def hold() -> None:
        held = torch.ones(64 * 2**20)  # 256 MiB of float32
        held.add_(1).mul_(2).sub_(1).div_(3).sqrt_().exp_().log_().sum()

    before = peak_memory(lambda: None, CPU)
    assert peak_memory(hold, CPU) - before > 200 * 2**20


def test_peak_tensor_bytes_counts_what_is_held_and_what_a_run_adds():
    kept = torch.ones(2**20)

    def hold() -> None:
        first = torch.ones(3 * 2**20)
        del first
        torch.ones(5 * 2**20).add_(kept.sum())

    found = peak_tensor_bytes(hold, [kept, kept[:4]])
    assert found == pytest.approx(4 * 6 * 2**20, abs=4096)


def report():
    work = Work(macs=8 * 10**9)
    slow = Measurement.computed(
        "evaluation", "float32", Timing((0.2, 0.1, 0.3)), 8, work, 200.0, (160.0, 200.0, 80.0), 2**20
    )
    fast = Measurement.computed("evaluation", "bfloat16", Timing((0.05,)), 8, work, 200.0, (200.0,), 2**20)
    loading = Measurement("loading", "-", 400.0, 0.02, (0.02, 0.02))
    rates = [ProductRate((4, 4, 4), 150.0, 200.0)]
    return BenchmarkReport(
        "configs/x.py",
        8,
        3,
        describe_machine(CPU),
        200.0,
        0.5,
        {"float32": rates, "bfloat16": rates},
        [loading, slow, fast],
    )


def test_share_rate_and_speedup_follow_from_median_and_work():
    slow = report().find("evaluation", "float32")
    assert slow.samples_per_second == pytest.approx(40)
    assert slow.gmac_per_sample == pytest.approx(1.0)
    assert slow.gflops == pytest.approx(80)  # 16 GFLOP in 0.2 s
    assert slow.share_of_peak == pytest.approx(0.4)
    assert slow.share_of_turn == pytest.approx(2 / 3)  # 80 of 160, 160 of 200, 53 of 80
    assert slow.spread == (0.1, 0.3)
    assert report().speedup("evaluation") == pytest.approx(4.0)
    assert report().speedup("training step") is None


def test_json_and_table_say_the_same():
    content = json.loads(report().to_json())
    assert content["format"] == "refkit.benchmark/1"
    assert content["speedup_bfloat16"] == {"training step": None, "evaluation": pytest.approx(4.0)}
    assert content["measurements"][1]["share_of_peak"] == pytest.approx(0.4)
    console = Console(file=StringIO(), width=160)
    console.print(report().table())
    text = console.file.getvalue()
    for expected in (
        "40.0",
        "40%",
        "evaluation 4.00×",
        "the peak is 200",
        "67%",
        "products ran at 50% of their peak",
        "4 × 4 × 4",
        "1 MiB",
    ):
        assert expected in text
