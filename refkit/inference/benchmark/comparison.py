"""refkit beside the way research loops run the same model: ratios from one run, and the same boxes."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from refkit.engine.config import RefkitConfig, load_config
from refkit.heads.box import to_original_boxes
from refkit.inference.benchmark.machine import describe_machine
from refkit.inference.benchmark.naive import research_style
from refkit.inference.benchmark.run import BenchmarkOptions
from refkit.inference.benchmark.subject import Run, Subject
from refkit.inference.benchmark.timing import Timing, peak_memory, peak_tensor_bytes, time_interleaved
from refkit.structures import Prediction

FORMAT = "refkit.benchmark-naive/1"
NAIVE = "naive float32"
ACTIVITIES = ("evaluation", "training step")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one run found.

    Attributes:
        config: name of the config.
        batch_size: samples per batch.
        repeats: timed repeats; medians are reported.
        machine: see `refkit.inference.benchmark.machine.describe_machine`.
        seconds: median of one batch, by activity and then by way (``naive float32``, ``float32``, …).
        box_difference: largest difference of a predicted box coordinate between the naive way and refkit in
            float32, relative to the longer side of the picture.
        peak_memory: resident bytes of a fresh process during three training steps, by way; the program and
            what the C allocator cannot give back are among them. Empty where not measured.
        peak_tensors: bytes of all tensors at the fullest moment of a training step, weights and optimizer
            among them, by way: what CUDA's allocator would report.
    """

    config: str
    batch_size: int
    repeats: int
    machine: dict[str, Any]
    seconds: dict[str, dict[str, float]]
    box_difference: float
    peak_memory: dict[str, int]
    peak_tensors: dict[str, int]

    def ratio(self, activity: str, way: str) -> float:
        """How many times faster than the naive way."""
        return self.seconds[activity][NAIVE] / self.seconds[activity][way]

    def to_json(self) -> str:
        """The result as a JSON document with the ratios spelled out."""
        ratios = {
            activity: {way: self.ratio(activity, way) for way in found}
            for activity, found in self.seconds.items()
        }
        return json.dumps({"format": FORMAT, **asdict(self), "ratio": ratios}, indent=2) + "\n"

    def table(self) -> Group:
        """The result for a terminal."""
        title = f"{self.config}, batch {self.batch_size}, against research style"
        times = _table(title, ("activity", "way", "seconds", "faster"))
        for activity, found in self.seconds.items():
            for way, seconds in found.items():
                times.add_row(activity, way, f"{seconds:.3f}", f"{self.ratio(activity, way):.2f}×")
        memory = _table("Memory of a training step", ("way", "tensors", "of naive", "resident", "of naive"))
        for way in self.peak_tensors:
            memory.add_row(way, *_sized(self.peak_tensors, way), *_sized(self.peak_memory, way))
        same = f"largest difference of a box: {self.box_difference:.1e} of the picture's longer side"
        machine = f"{self.machine['name']}, {self.machine['threads']} threads, torch {self.machine['torch']}"
        return Group(Text(machine), Text(same), times, *([memory] if self.peak_tensors else []))


def compare_with_naive(
    config: str, overrides: Sequence[str], device: torch.device, options: BenchmarkOptions
) -> Comparison:
    """Times refkit and the naive way in turn on one model with random weights; memory in fresh processes.

    Adapters are open as in the last stage of training; refkit merges them for evaluation, the naive way does
    not.

    Args:
        config: file, or name relative to ``configs/``.
        overrides: ``dotted.key=value`` strings.
        device: where the model computes.
        options: how to measure.

    Raises:
        BenchmarkError: a part of the config is missing.
    """
    loaded = load_config(config, overrides)
    with tempfile.TemporaryDirectory(prefix="refkit-benchmark-") as folder:
        subject = _subject(loaded, options.batch_size, device, Path(folder))
        subject.model.eval()
        plain = copy.copy(subject)
        plain.model = copy.deepcopy(subject.model)
        if hasattr(plain.model, "settle"):
            plain.model.settle()
        evaluation = {NAIVE: naive_evaluation(subject)}
        evaluation |= {precision: plain.evaluation(precision) for precision in options.precisions}
        difference = _box_difference(subject, evaluation[NAIVE](), plain.evaluation("float32")())
        timed = {"evaluation": time_interleaved(evaluation, options.repeats, progress=options.progress)}
        del evaluation, plain
        if options.training:
            timed["training step"] = _time_training(subject, options)
    fresh = options.training and device.type == "cpu"
    memories = _memories(config, overrides, options) if fresh else {}
    return Comparison(
        config=Path(loaded.filename).stem,
        batch_size=options.batch_size,
        repeats=options.repeats,
        machine=describe_machine(device),
        seconds={name: _medians(found) for name, found in timed.items()},
        box_difference=difference,
        peak_memory={way: resident for way, (resident, _) in memories.items()},
        peak_tensors={way: tensors for way, (_, tensors) in memories.items()},
    )


def _time_training(subject: Subject, options: BenchmarkOptions) -> dict[str, Timing]:
    subject.model.train()
    training = {NAIVE: naive_training_step(subject)}
    training |= {precision: subject.training_step(precision) for precision in options.precisions}
    return time_interleaved(training, options.repeats, progress=options.progress)


def naive_evaluation(subject: Subject) -> Run:
    """Boxes in pixels of one batch, ``B`` arrays ``(1, 4)``, by `research_style`."""
    model: Any = subject.model

    def run() -> list[np.ndarray]:
        with torch.no_grad(), research_style(model):
            data = model.data_preprocessor(subject.test_batch)
            outputs = model(data["inputs"], mode="tensor")
            return to_original_boxes(outputs["pred_boxes"], data["data_samples"])

    return run


def naive_training_step(subject: Subject) -> Run:
    """Forward, backward and update on one batch, by `research_style`; every loss is read after the step."""

    def run() -> list[float]:
        with research_style(subject.model):
            losses = subject.training_step("float32")()
        return [value.item() for value in losses.values()]

    return run


def _subject(config: RefkitConfig, batch_size: int, device: torch.device, folder: Path) -> Subject:
    torch.manual_seed(0)
    return Subject(config, batch_size, device, folder)


def _medians(timings: dict[str, Timing]) -> dict[str, float]:
    return {way: timing.median for way, timing in timings.items()}


def _box_difference(subject: Subject, naive: Sequence[np.ndarray], ours: Sequence[Prediction]) -> float:
    samples = subject.test_batch["data_samples"]
    return max(
        float(np.abs(box - answer.boxes).max()) / max(sample.frame.original)
        for sample, box, answer in zip(samples, naive, ours, strict=True)
    )


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _sized(memory: dict[str, int], way: str) -> tuple[str, str]:
    return f"{memory[way] / 2**20:.0f} MiB", f"{memory[way] / memory[NAIVE]:.2f}"


def _memories(config: str, overrides: Sequence[str], options: BenchmarkOptions) -> dict[str, tuple[int, int]]:
    context = multiprocessing.get_context("spawn")
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler of the fresh process keeps quiet
    found = {}
    for way in (NAIVE, *options.precisions):
        with context.Pool(1) as pool:
            arguments = (config, overrides, options.batch_size, torch.get_num_threads(), way)
            found[way] = pool.apply(training_memory, arguments)
    return found


def training_memory(
    config: str, overrides: Sequence[str], batch_size: int, threads: int, way: str
) -> tuple[int, int]:
    """Peak of the resident bytes of this process during three training steps, and of the bytes of all tensors
    during one more; call it in a fresh process.
    """
    torch.set_num_threads(threads)
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory(prefix="refkit-benchmark-") as folder:
        subject = _subject(load_config(config, overrides), batch_size, device, Path(folder))
        subject.model.train()
        step: Callable[[], Any] = naive_training_step(subject) if way == NAIVE else subject.training_step(way)
        resident = peak_memory(lambda: [step() for _ in range(3)], device)
        return resident, peak_tensor_bytes(step, subject.held())
