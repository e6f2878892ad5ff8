"""What happens inside the process of one run."""

from __future__ import annotations

import math
import os
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from refkit.engine.ablation.run import Run


@dataclass(frozen=True)
class Job:
    """A run with its place.

    Attributes:
        run: what to train.
        work_dir: where logs and predictions go; nothing in it is kept from before.
        log: file for everything that is printed.
        cores: numbers of the processor cores to use; empty leaves the choice to the system.
    """

    run: Run
    work_dir: Path
    log: Path
    cores: tuple[int, ...] = ()


def execute(job: Job, pipe: Connection) -> None:
    """Train one run; the body of a process.

    Sends ``("iterations", count)`` on the way and ``("result", {...})`` at the end: metrics of the last
    validation, seconds in all, seconds per iteration. If nobody listens any more, the process ends with its
    next iteration. Errors go to the log, and the exit code is 1.
    """
    _write_to(job.log)
    try:
        pipe.send(("result", _train(job, pipe)))
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _train(job: Job, pipe: Connection) -> dict[str, Any]:
    started = time.perf_counter()
    threads = _use_cores(job.cores)

    from refkit.engine.ablation.clock import RunClock
    from refkit.engine.runner import build_runner

    runner = build_runner(job.run.config(), job.work_dir, launcher="none")
    clock = RunClock(lambda count: pipe.send(("iterations", count)))
    runner.register_hook(clock)
    runner.train()
    _check_iterations(clock.done, job.run.iterations)
    if job.run.weights is not None:
        runner.write_weights(job.run.weights)
    _remove_checkpoints(job.work_dir)
    return {
        "metrics": _finite(runner.last_metrics),
        "seconds": time.perf_counter() - started,
        "seconds_per_iteration": clock.seconds_per_iteration,
        "threads": threads,
    }


def _write_to(log: Path) -> None:
    """Send standard output and standard error of this process to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _use_cores(cores: Sequence[int]) -> int:
    """Stay on these cores, with one thread for each; returns the number of threads."""
    import torch

    if cores:
        os.sched_setaffinity(0, cores)
        torch.set_num_threads(len(cores))
    return torch.get_num_threads()


def _check_iterations(done: int, wanted: int) -> None:
    if done != wanted:
        raise RuntimeError(f"trained {done} iterations, the budget is {wanted}: the row is not comparable")


def _finite(metrics: dict[str, float]) -> dict[str, float]:
    """Those that exist: the average over a group that has no members is NaN."""
    found = {name: float(value) for name, value in metrics.items() if not math.isnan(value)}
    wrong = [name for name, value in found.items() if math.isinf(value)]
    if not found or wrong:
        what = f"not finite: {', '.join(wrong)}" if wrong else "none: the config has no validation"
        raise RuntimeError(f"metrics of the last validation, {what}")
    return found


def _remove_checkpoints(work_dir: Path) -> None:
    """A table of many rows would fill the disk; metrics, predictions and logs stay."""
    for file in (*work_dir.glob("*.pth*"), *work_dir.glob("last_checkpoint")):
        file.unlink()
