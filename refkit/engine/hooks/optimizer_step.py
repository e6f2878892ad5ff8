"""The model is told which optimizer step comes next."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from refkit.registry import HOOKS


@HOOKS.register_module()
class OptimizerStepHook(Hook):
    """Calls ``model.enter_step(number)`` before every iteration, for models whose training depends on it.

    The number counts from 0 at the beginning of the stage, or of a run without stages (OneRef's released code
    counts within a run of its script, which is a stage here). It follows from the loop's position, so a
    resumed run goes on as the uninterrupted one would; iterations whose gradients make one update share it.
    The runner adds this hook by itself.
    """

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Tell a model that wants to know."""
        enter = getattr(runner.bare_model, "enter_step", None)
        if enter is not None:
            together = getattr(runner.optim_wrapper, "_accumulative_counts", 1)
            enter(runner.train_loop.stage_iteration // together)
