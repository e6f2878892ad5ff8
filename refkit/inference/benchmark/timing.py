"""Wall-clock times of alternatives, measured in turn, and the peak memory of a run."""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import torch
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

Name = TypeVar("Name", bound=Hashable)

_SAMPLING_INTERVAL = 0.002  # seconds between two looks at the resident set


@dataclass(frozen=True, slots=True)
class Timing:
    """Repeated wall-clock times of one run, in seconds."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle time: a disturbance in a few repeats does not move it."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """The shortest time: what the machine can do when nothing else runs."""
        return min(self.seconds)


def time_interleaved(
    runs: Mapping[Name, Callable[[], Any]], repeats: int, warmup: int = 1, progress: bool = True
) -> dict[Name, Timing]:
    """Times alternatives in turn (a, b, a, b, …), so that a change of the machine's load meets them all.

    Args:
        runs: what to time, by name.
        repeats: timed calls of each.
        warmup: untimed calls of each before; they fill caches and choose kernels.
        progress: whether to show a progress bar on stderr.

    Raises:
        ValueError: if ``repeats`` is below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats: expected at least 1, got {repeats}.")
    seconds: dict[Name, list[float]] = {name: [] for name in runs}
    turns: Iterable[int] = tqdm(range(-warmup, repeats), desc="timing", disable=not progress, leave=False)
    for turn in turns:
        for name, run in runs.items():
            elapsed = _time(run)
            if turn >= 0:
                seconds[name].append(elapsed)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def _time(run: Callable[[], Any]) -> float:
    _wait_for_device()
    start = time.perf_counter()
    run()
    _wait_for_device()
    return time.perf_counter() - start


def _wait_for_device() -> None:
    """Accelerators run behind the calling thread; without waiting one times the launch alone."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_memory(run: Callable[[], Any], device: torch.device) -> int:
    """Bytes that the process (CPU: resident set) or the allocator (CUDA) holds at most while ``run`` runs.

    The resident set includes the program, the weights and what the C allocator kept from earlier runs. It is
    sampled every 2 ms, so that a shorter spike may be missed.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device)
    with _ResidentSetSampler() as sampler:
        run()
    return sampler.peak


def peak_tensor_bytes(run: Callable[[], Any], held: Iterable[torch.Tensor]) -> int:
    """Bytes of all tensors on the CPU at the fullest moment of ``run``, as CUDA's allocator counts them.

    Unlike the resident set it holds neither the program nor what the C allocator cannot give back.

    Args:
        run: what to watch.
        held: tensors that are there before and after: parameters, buffers, state of the optimizer.
    """
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in held}
    with tempfile.TemporaryDirectory(prefix="refkit-benchmark-") as folder:
        trace = Path(folder) / "trace.json"
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
            run()
        watched.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]"]
    changes.sort(key=lambda change: change[0])
    above = np.cumsum([size for _, size in changes], dtype=np.int64).max(initial=0)
    return sum(storages.values()) + int(above)


class _ResidentSetSampler:
    """Watches the resident set of this process from a thread."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak = 0

    def __enter__(self) -> _ResidentSetSampler:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLING_INTERVAL):
            self._look()

    def _look(self) -> None:
        self.peak = max(self.peak, self._process.memory_info().rss)
