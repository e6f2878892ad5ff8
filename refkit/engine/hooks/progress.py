"""A progress bar on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from tqdm import tqdm

from refkit.registry import HOOKS


class _AboveBar:
    """A stream whose lines appear above a running progress bar instead of through it."""

    @staticmethod
    def write(text: str) -> None:
        tqdm.write(text, file=sys.stderr, end="")

    @staticmethod
    def flush() -> None:
        sys.stderr.flush()


@HOOKS.register_module()
class ProgressHook(Hook):
    """One bar for the training run and one per evaluation; silent where the output is not a terminal."""

    priority = "VERY_LOW"

    def __init__(self) -> None:
        self._training: tqdm | None = None
        self._evaluation: tqdm | None = None

    def before_train(self, runner: Any) -> None:
        """Open the bar at the iteration that training starts from; log lines go above it."""
        for handler in runner.logger.handlers if sys.stderr.isatty() else ():
            if type(handler) is logging.StreamHandler:
                handler.setStream(_AboveBar())
        self._training = self._bar("train", runner.max_iters, runner.iter)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """One step on."""
        if self._training is not None:
            stage = f" {runner.train_loop.stage}" if runner.train_loop.stage else ""
            self._training.set_description(
                f"train{stage}, epoch {runner.epoch + 1}/{runner.max_epochs}", refresh=False
            )
            self._training.update()

    def after_train(self, runner: Any) -> None:
        """Close it."""
        if self._training is not None:
            self._training.close()

    def _before_epoch(self, runner: Any, mode: str = "train") -> None:
        if mode != "train":
            loop = runner.val_loop if mode == "val" else runner.test_loop
            self._evaluation = self._bar("evaluate", len(loop.dataloader), 0)

    def _after_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
        mode: str = "train",
    ) -> None:
        if mode != "train" and self._evaluation is not None:
            self._evaluation.update()

    def _after_epoch(self, runner: Any, mode: str = "train") -> None:
        if mode != "train" and self._evaluation is not None:
            self._evaluation.close()

    @staticmethod
    def _bar(name: str, total: int, start: int) -> tqdm:
        # disable=None: tqdm itself stays silent when stderr is no terminal.
        hidden = None if is_main_process() else True
        return tqdm(
            desc=name, total=total, initial=start, disable=hidden, leave=name == "train", dynamic_ncols=True
        )
