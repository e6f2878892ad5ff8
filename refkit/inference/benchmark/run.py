"""Runs the benchmark of a config: the peak and the model in turn, in one process, with the same threads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from refkit.engine.config import RefkitConfig
from refkit.inference.benchmark.counting import Work, count_work
from refkit.inference.benchmark.machine import (
    SQUARE_SIDES,
    Product,
    ProductRate,
    describe_machine,
    peak_rate,
    product_run,
    squares,
)
from refkit.inference.benchmark.report import BenchmarkReport, Measurement
from refkit.inference.benchmark.subject import Subject
from refkit.inference.benchmark.timing import Timing, peak_memory, time_interleaved

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_MODEL_PRODUCTS = 4  # they hold most of a transformer's arithmetic


@dataclass(frozen=True, slots=True)
class BenchmarkOptions:
    """How to measure.

    Attributes:
        batch_size: samples per batch.
        repeats: timed repeats of each measurement.
        precisions: of the model, measured side by side.
        sides: of the square products that define the peak.
        progress: whether to show progress bars on stderr.
    """

    batch_size: int = 8
    repeats: int = 7
    precisions: tuple[str, ...] = ("float32", "bfloat16")
    sides: tuple[int, ...] = SQUARE_SIDES
    progress: bool = True


def run_benchmark(config: RefkitConfig, device: torch.device, options: BenchmarkOptions) -> BenchmarkReport:
    """Measures loading, training and evaluation of a config with random weights.

    Every repeat times the matrix products first, then the model in each precision, so that a busy machine
    slows the yardstick and the model alike. Training comes last: its memory would hide that of evaluation.

    Raises:
        BenchmarkError: a part of the config is missing.
    """
    with tempfile.TemporaryDirectory(prefix="refkit-benchmark-") as folder:
        subject = Subject(config, options.batch_size, device, Path(folder))
        activities = {"evaluation": subject.evaluation, "training step": subject.training_step}
        subject.model.eval()
        loading = time_interleaved({"": subject.loading()}, options.repeats, progress=options.progress)[""]
        work, times, memory, products = {}, {}, {}, {}
        for activity, make in activities.items():
            subject.model.train(activity == "training step")
            runs = {precision: make(precision) for precision in options.precisions}
            work[activity] = count_work(runs[options.precisions[0]])
            sizes = squares(options.sides) + work[activity].main_products(_MODEL_PRODUCTS)
            times[activity], products[activity] = _time_beside_products(runs, sizes, device, options)
            memory[activity] = {precision: peak_memory(run, device) for precision, run in runs.items()}
    rates = products["evaluation"]
    peak = max(peak_rate(found["float32"]) for found in products.values())
    return BenchmarkReport(
        config=Path(config.filename).stem,
        batch_size=options.batch_size,
        repeats=options.repeats,
        machine=describe_machine(device),
        peak_gflops=peak,
        products=rates,
        measurements=[
            _loading(loading, options.batch_size),
            *_computed("evaluation", times, work, memory, options, peak),
            *_computed("training step", times, work, memory, options, peak),
        ],
        note=subject.note,
    )


def _time_beside_products(
    runs: dict[str, Callable[[], Any]],
    sizes: Sequence[Product],
    device: torch.device,
    options: BenchmarkOptions,
) -> tuple[dict[str, Timing], dict[str, list[ProductRate]]]:
    """Times of the runs, and rates of matrix products in both number formats, measured in turn with them."""
    yardsticks: dict[Any, Callable[[], Any]] = {
        (name, size): product_run(size, dtype, device) for name, dtype in _DTYPES.items() for size in sizes
    }
    timings = time_interleaved({**yardsticks, **runs}, options.repeats, progress=options.progress)
    rates = {name: [ProductRate.of(size, timings[(name, size)]) for size in sizes] for name in _DTYPES}
    return {name: timings[name] for name in runs}, rates


def _loading(timing: Timing, samples: int) -> Measurement:
    spread = (timing.best, max(timing.seconds))
    return Measurement("loading", "-", samples / timing.median, timing.median, spread)


def _computed(
    activity: str,
    times: dict[str, dict[str, Timing]],
    work: dict[str, Work],
    memory: dict[str, dict[str, int]],
    options: BenchmarkOptions,
    peak: float,
) -> list[Measurement]:
    return [
        Measurement.computed(
            activity, precision, timing, options.batch_size, work[activity], peak, memory[activity][precision]
        )
        for precision, timing in times[activity].items()
    ]
