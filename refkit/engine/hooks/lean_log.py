"""Logging that does not slow training: values stay on the device until shown, histories stay short."""

from __future__ import annotations

import math
import warnings
from typing import Any

import psutil
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.logging import HistoryBuffer

from refkit.registry import HOOKS


class TrainingDivergedError(RuntimeError):
    """A loss became infinite or not a number."""


@HOOKS.register_module()
class LeanRuntimeInfoHook(RuntimeInfoHook):
    """`RuntimeInfoHook` that waits for the device once per ``interval``, not for every loss.

    Between two flushes the losses are kept as detached tensors. Log histories are cut to ``history`` entries
    (MMEngine appends to ever longer arrays: milliseconds per value after some 100,000 iterations).

    Args:
        interval: iterations between flushes; logging, checkpoints and validation flush as well.
        history: entries kept per logged value; must cover the log processor's window.

    Raises:
        ValueError: a number below 1.
        TrainingDivergedError: (while training) a loss is not finite.
    """

    def __init__(self, interval: int = 50, history: int = 1000) -> None:
        if interval < 1 or history < 1:
            raise ValueError(
                f"LeanRuntimeInfoHook: interval and history start at 1, got {interval} and {history}"
            )
        self._interval = interval
        self._history = history
        self._waiting: list[tuple[int, dict[str, torch.Tensor]]] = []

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Remember this iteration's values without looking at them."""
        values = dict(outputs or {})
        take_norm = getattr(runner.optim_wrapper, "take_grad_norm", None)
        norm = take_norm() if take_norm else None
        if norm is not None:
            values["grad_norm"] = norm
        detached = {key: torch.as_tensor(value).detach().float().reshape(()) for key, value in values.items()}
        self._waiting.append((runner.iter + 1, detached))
        if len(self._waiting) >= self._interval:
            self.flush_logs(runner)

    def flush_logs(self, runner: Any) -> None:
        """Move the waiting values to the message hub: one transfer from the device for all of them."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        stacked = torch.stack([value for _, values in waiting for value in values.values()]).tolist()
        numbers = iter(stacked)
        for iteration, values in waiting:
            for key in values:
                number = next(numbers)
                if key.startswith("loss") and not math.isfinite(number):
                    raise TrainingDivergedError(
                        f"{key} is {number} at iteration {iteration}: lower the learning rate, clip "
                        "gradients (optim_wrapper.clip_grad) or use precision='float32'"
                    )
                runner.message_hub.update_scalar(f"train/{key}", number)
        self._shorten(runner.message_hub.log_scalars)

    def gather_training_state(self, runner: Any, extra: dict[str, Any]) -> None:
        """A checkpoint holds every value up to its iteration."""
        self.flush_logs(runner)

    def before_val(self, runner: Any) -> None:
        """Validation starts with nothing waiting."""
        self.flush_logs(runner)
        super().before_val(runner)

    def after_train(self, runner: Any) -> None:
        """So does the end."""
        self.flush_logs(runner)
        super().after_train(runner)

    def _shorten(self, scalars: dict[str, HistoryBuffer]) -> None:
        for key, buffer in scalars.items():
            history, counts = buffer.data
            if len(history) > self._history:
                scalars[key] = HistoryBuffer(history[-self._history :], counts[-self._history :])


@HOOKS.register_module()
class LeanLoggerHook(LoggerHook):
    """`LoggerHook` that speaks early (iterations 1, 2, 5, 10, 20) and then every ``interval`` iterations.

    Each line has the name of the stage, the learning rate, the time per iteration and the memory: of the GPU,
    or of the process on a CPU.

    Args:
        interval: iterations between lines, counted from the start of the run.
        arguments: of `LoggerHook`.
    """

    _EARLY = frozenset((1, 2, 5, 10, 20))

    def __init__(self, interval: int = 50, **arguments: Any) -> None:
        super().__init__(interval=interval, **arguments)
        self._process = psutil.Process()

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Write a line where one is due."""
        completed = runner.iter + 1
        if completed not in self._EARLY and completed % self.interval and completed != runner.max_iters:
            return
        runner.call_hook("flush_logs")
        if not torch.cuda.is_available():
            megabytes = self._process.memory_info().rss / 2**20
            runner.message_hub.update_scalar("train/memory", round(megabytes))
        values, line = runner.log_processor.get_log_after_iter(runner, batch_idx, "train")
        self._tell(runner, values, line, completed)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Write the metrics; their step is the number of completed epochs."""
        values, line = runner.log_processor.get_log_after_epoch(runner, len(runner.val_dataloader), "val")
        self._tell(runner, values, line, 0 if runner.is_standalone_evaluation else runner.epoch)

    def _tell(self, runner: Any, values: dict[str, Any], line: str, step: int) -> None:
        """Line and values, each with the name of the stage where there is one."""
        stage = "" if runner.is_standalone_evaluation else runner.train_loop.stage
        runner.logger.info(f"{stage}: {line}" if stage else line)
        if not is_main_process():
            return
        named = {**values, "stage": stage} if stage else values
        with warnings.catch_warnings():
            # TensorBoard keeps numbers and says so of the name.
            warnings.simplefilter("ignore", UserWarning)
            runner.visualizer.add_scalars(named, step=step, file_path=self.json_log_path)

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Nothing: `ProgressHook` shows how far an evaluation is."""

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Nothing, as above."""
