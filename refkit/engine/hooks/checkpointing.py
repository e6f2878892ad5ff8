"""When checkpoints are written, which are kept, and which weights were the best so far."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from refkit.engine.checkpoint import checkpoint_path, list_checkpoints, remove_checkpoint, remove_leftovers
from refkit.engine.config import ConfigError
from refkit.registry import HOOKS


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Writes checkpoints that resume exactly and load with torch's safe loader.

    Checkpoints are named ``iter_<completed iterations>.pth``; the file ``last_checkpoint`` holds the newest
    name. A checkpoint that falls due while gradients accumulate is written right after the update they
    belong to. Older checkpoints are deleted only after the new one is on the disk. The weights that scored
    best on ``save_best`` lie in ``best_<metric>.pth`` (weights only; the average of EMA where that is used),
    in a run with stages in ``best_<metric>_<stage>.pth``, one per stage.

    Args:
        interval: epochs between checkpoints.
        interval_iters: iterations between further checkpoints inside epochs; 0 = none.
        keep: how many of the newest training checkpoints stay; at least 2, so that one is left if the last
            is damaged.
        save_best: name of a validation metric, such as ``"rec/acc50"``, or None.
        rule: ``"greater"`` or ``"less"``: which value of that metric is better.

    Raises:
        ValueError: a number out of range or an unknown rule.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        interval: int = 1,
        interval_iters: int = 0,
        keep: int = 2,
        save_best: str | None = None,
        rule: str = "greater",
    ) -> None:
        if interval < 1 or interval_iters < 0 or keep < 2:
            raise ValueError(
                f"SafeCheckpointHook: need interval ≥ 1, interval_iters ≥ 0 and keep ≥ 2, "
                f"got {interval}, {interval_iters} and {keep}"
            )
        if rule not in ("greater", "less"):
            raise ValueError(f"SafeCheckpointHook: rule is 'greater' or 'less', got {rule!r}")
        self._interval = interval
        self._interval_iters = interval_iters
        self._keep = keep
        self._save_best = save_best
        self._rule = rule
        self._due = False

    def before_train(self, runner: Any) -> None:
        """Clear what a killed process left half written."""
        if is_main_process():
            remove_leftovers(runner.work_dir)

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Inside an epoch. Its last iteration waits for `after_train_epoch`, after the schedulers."""
        completed = runner.iter + 1
        self._due |= self._interval_iters > 0 and completed % self._interval_iters == 0
        if runner.train_loop.position(completed)[1]:
            self._save_if_due(runner, completed)

    def after_train_epoch(self, runner: Any) -> None:
        """At the end of an epoch, before it is validated."""
        epoch = runner.epoch + 1
        self._due |= epoch % self._interval == 0 or runner.train_loop.ends_stage(epoch)
        self._save_if_due(runner, runner.iter)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Keep the weights if they are the best so far."""
        if self._save_best is None or not metrics or runner.is_standalone_evaluation:
            return
        if self._save_best not in metrics:
            known = ", ".join(metrics)
            raise ConfigError(
                f"checkpoint hook: save_best={self._save_best!r} is none of the metrics {known}"
            )
        value = float(metrics[self._save_best])
        worst = -math.inf if self._rule == "greater" else math.inf
        of_stage = f" of stage {runner.train_loop.stage}" if runner.train_loop.stage else ""
        best = runner.message_hub.get_info(f"best_score{of_stage}", worst)
        if value > best if self._rule == "greater" else value < best:
            runner.message_hub.update_info(f"best_score{of_stage}", value)
            runner.message_hub.update_info(f"best_iteration{of_stage}", runner.iter)
            path = Path(runner.work_dir) / self.best_name(runner.train_loop.stage)
            runner.write_weights(path)
            runner.logger.info(f"best {self._save_best} so far, {value:.4f}: {path.name}")

    @property
    def keeps_best(self) -> bool:
        """Whether there is a metric to be best on."""
        return self._save_best is not None

    def best_name(self, stage: str = "") -> str:
        """Name of the file with the best weights of a stage (of the run, where it has no stages)."""
        return "_".join(filter(None, ("best", (self._save_best or "").replace("/", "_"), stage))) + ".pth"

    def _save_if_due(self, runner: Any, completed: int) -> None:
        if not self._due or runner.optim_wrapper.has_pending_gradients():
            return
        self._due = False
        path = checkpoint_path(runner.work_dir, completed)
        runner.write_training_state(path, completed)
        if is_main_process():
            for old in list_checkpoints(runner.work_dir)[: -self._keep]:
                remove_checkpoint(old)
