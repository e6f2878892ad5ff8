"""Keeps ``run.json`` up to date while a run goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from refkit.engine.run_record import describe_run, now, read_run, update_run
from refkit.registry import HOOKS


@HOOKS.register_module()
class RunRecordHook(Hook):
    """Writes what a run is when it starts, its metrics when there are some, and how it ended.

    The runner adds this hook by itself.
    """

    priority = "LOWEST"

    def before_run(self, runner: Any) -> None:
        """Config, code, packages, machine."""
        self._update(runner, describe_run(runner.cfg, runner.seed, runner.world_size))

    def before_train(self, runner: Any) -> None:
        """The records that training and validation read."""
        data = {"train": _describe(runner.train_dataloader.dataset)}
        if runner.val_loop is not None:
            data["val"] = _describe(runner.val_loop.dataloader.dataset)
        self._update(runner, {"status": "training", "data": data, "first_iteration": runner.iter})
        self._keep_history(runner, lambda entry: entry["iteration"] <= runner.iter)

    def after_train(self, runner: Any) -> None:
        """How far it went."""
        done = {"iterations": runner.iter, "epochs": runner.epoch, "finished": now()}
        self._update(runner, {"status": "finished", **done})

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """The newest validation, and the precision it ran in."""
        runner.last_metrics = dict(metrics or {})
        place = {"iteration": runner.iter, "epoch": runner.epoch, "stage": runner.train_loop.stage}
        evaluation = {**place, "precision": runner.val_loop.precision}
        self._update(runner, {"metrics": runner.last_metrics, "evaluation": evaluation})
        # A validation that was killed and is made up for takes its own place.
        self._keep_history(runner, lambda entry: entry["iteration"] < runner.iter)
        self._add_history(runner, {**place, "metrics": runner.last_metrics})

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """The result of a test run."""
        runner.last_metrics = dict(metrics or {})
        loop = runner.test_loop
        evaluation = {"checkpoint": runner.evaluated_checkpoint, "precision": loop.precision}
        data = {"test": _describe(loop.dataloader.dataset)}
        result = {"metrics": runner.last_metrics, "evaluation": evaluation, "data": data}
        self._update(runner, {"status": "evaluated", "finished": now(), **result})

    def _keep_history(self, runner: Any, wanted: Callable[[dict[str, Any]], bool]) -> None:
        kept = [entry for entry in read_run(runner.work_dir).get("history", []) if wanted(entry)]
        self._update(runner, {"history": kept})

    def _add_history(self, runner: Any, entry: dict[str, Any]) -> None:
        self._update(runner, {"history": [*read_run(runner.work_dir).get("history", []), entry]})

    @staticmethod
    def _update(runner: Any, changes: dict[str, Any]) -> None:
        if is_main_process():
            update_run(runner.work_dir, changes)


def _describe(dataset: Any) -> dict[str, Any]:
    return {"class": type(dataset).__name__, "samples": len(dataset), **getattr(dataset, "metainfo", {})}
