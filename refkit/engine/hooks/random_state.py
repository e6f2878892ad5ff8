"""The random generators of every process travel with the checkpoint."""

from __future__ import annotations

from typing import Any

from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook

from refkit.engine import randomness
from refkit.registry import HOOKS


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Saves and restores Python's, numpy's, torch's and CUDA's random generators, one set per process.

    A fresh run on several processes gives each its own stream (dropout must not be the same on all of them);
    the first keeps the run's seed, so that one process behaves as without torchrun.
    """

    priority = "LOWEST"

    def __init__(self) -> None:
        self._restored: list[dict[str, Any]] = []

    def gather_training_state(self, runner: Any, extra: dict[str, Any]) -> None:
        """Called on every process before the first one writes the checkpoint."""
        extra["random_state"] = all_gather_object(randomness.capture())

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Keep the states for the moment when training goes on; building the rest may still draw numbers."""
        self._restored = checkpoint.get("random_state", [])

    def before_train(self, runner: Any) -> None:
        """The last thing before the first iteration."""
        if self._restored:
            randomness.restore(self._restored[get_rank()])
        elif get_world_size() > 1 and get_rank() > 0:
            randomness.seed_all(runner.seed + get_rank())
        self._restored = []
