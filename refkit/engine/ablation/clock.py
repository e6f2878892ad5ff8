"""How long training takes: seconds per iteration, measured inside a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from mmengine.hooks import Hook


class RunClock(Hook):
    """Times the iterations of a run, without checkpoints, evaluation and the first (warming-up) iteration.

    Args:
        report: called after every iteration with the number of completed ones.

    Attributes:
        seconds: spent in timed iterations.
        timed: how many those are.
        done: all completed iterations.
    """

    priority = "HIGHEST"

    def __init__(self, report: Callable[[int], object]) -> None:
        self._report = report
        self._started = 0.0
        self.seconds = 0.0
        self.timed = 0
        self.done = 0

    @property
    def seconds_per_iteration(self) -> float:
        """Mean over the timed iterations; 0 before there are two iterations."""
        return self.seconds / self.timed if self.timed else 0.0

    def before_train_epoch(self, runner: Any) -> None:
        """The clock starts."""
        self._started = _now()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """One more; the very first one only sets the clock."""
        self.done += 1
        if self.done == 1:
            self._started = _now()
        else:
            self.timed += 1
        self._report(self.done)

    def after_train_epoch(self, runner: Any) -> None:
        """The clock stops, before other hooks write checkpoints."""
        self.seconds += _now() - self._started


def _now() -> float:
    """Wall-clock seconds, once the accelerator has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
