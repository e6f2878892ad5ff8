"""Runs the benchmark of a config: the peak and the model in turn, in one process, with the same threads."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from refkit.engine.config import RefkitConfig
from refkit.inference.benchmark.counting import Work, count_work
from refkit.inference.benchmark.machine import (
    SQUARE_SIDES,
    ProductRate,
    Yardstick,
    describe_machine,
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
        training: whether training steps are compared with the naive way, too.
    """

    batch_size: int = 8
    repeats: int = 7
    precisions: tuple[str, ...] = ("float32", "bfloat16")
    sides: tuple[int, ...] = SQUARE_SIDES
    progress: bool = True
    training: bool = True


@dataclass(frozen=True, slots=True)
class _Activity:
    """What was found about training or evaluation; all by precision but the work and the yardstick."""

    work: Work
    timings: dict[str, Timing]
    products: dict[str, list[ProductRate]]
    yardstick: Yardstick
    memory: dict[str, int]


def run_benchmark(config: RefkitConfig, device: torch.device, options: BenchmarkOptions) -> BenchmarkReport:
    """Measures loading, training and evaluation of a config with random weights.

    Every repeat times the matrix products first, then the model in each precision, so that a busy machine
    slows the yardstick and the model alike. Training comes last: its memory would hide that of evaluation.

    Raises:
        BenchmarkError: a part of the config is missing.
    """
    with tempfile.TemporaryDirectory(prefix="refkit-benchmark-") as folder:
        subject = Subject(config, options.batch_size, device, Path(folder))
        loading = time_interleaved({"": subject.loading()}, options.repeats, progress=options.progress)[""]
        subject.model.eval()
        evaluation = _measure(subject.evaluation, device, options)
        subject.model.train()
        training = _measure(subject.training_step, device, options)
    activities = {"evaluation": evaluation, "training step": training}
    turns = evaluation.yardstick.turns + training.yardstick.turns
    peak = max(turns)
    return BenchmarkReport(
        config=Path(config.filename).stem,
        batch_size=options.batch_size,
        repeats=options.repeats,
        machine=describe_machine(device),
        peak_gflops=peak,
        quiet=statistics.median(turns) / peak,
        products=evaluation.products,
        measurements=[
            _loading(loading, options.batch_size),
            *(
                row
                for name, found in activities.items()
                for row in _rows(name, found, options.batch_size, peak)
            ),
        ],
        note=subject.note,
    )


def _measure(
    make: Callable[[str], Callable[[], Any]], device: torch.device, options: BenchmarkOptions
) -> _Activity:
    """One activity in every precision, timed in turn with matrix products in both number formats."""
    runs = {precision: make(precision) for precision in options.precisions}
    work = count_work(runs[options.precisions[0]])
    sizes = squares(options.sides) + work.main_products(_MODEL_PRODUCTS)
    beside: dict[Any, Callable[[], Any]] = {
        (name, size): product_run(size, dtype, device) for name, dtype in _DTYPES.items() for size in sizes
    }
    timings = time_interleaved({**beside, **runs}, options.repeats, progress=options.progress)
    return _Activity(
        work,
        {precision: timings[precision] for precision in runs},
        {name: [ProductRate.of(size, timings[(name, size)]) for size in sizes] for name in _DTYPES},
        Yardstick.of({size: timings[("float32", size)] for size in squares(options.sides)}),
        {precision: peak_memory(run, device) for precision, run in runs.items()},
    )


def _loading(timing: Timing, samples: int) -> Measurement:
    spread = (timing.best, max(timing.seconds))
    return Measurement("loading", "-", samples / timing.median, timing.median, spread)


def _rows(name: str, found: _Activity, samples: int, peak: float) -> list[Measurement]:
    turns = found.yardstick.turns
    return [
        Measurement.computed(
            name, precision, timing, samples, found.work, peak, turns, found.memory[precision]
        )
        for precision, timing in found.timings.items()
    ]
