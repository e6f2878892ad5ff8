"""Training and evaluation loops: exact to continue, exact to shard.

`ExactTrainLoop` can be stopped after any iteration and continued by another process as if nothing had
happened: its whole position is the number of completed iterations, the data order is a function of (seed,
epoch), the sampler skips what was seen without decoding it, and nothing but the model draws from the global
random generators.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, TestLoop, ValLoop
from torch.utils.data import DataLoader

from refkit.data.samplers import ExactEvalSampler
from refkit.engine import randomness
from refkit.engine.checkpoint import CheckpointError
from refkit.engine.distributed import share_buffers
from refkit.engine.metrics import EvaluationContext
from refkit.engine.precision import choose_precision, computing_in
from refkit.engine.sharding import WholeBatchSampler
from refkit.registry import LOOPS


@LOOPS.register_module()
class ExactTrainLoop(EpochBasedTrainLoop):
    """`EpochBasedTrainLoop` that continues exactly, also from the middle of an epoch.

    Takes the arguments of its parent (``max_epochs``, ``val_begin``, ``val_interval``,
    ``dynamic_intervals``). `StagedTrainLoop` extends `state_dict` and `load_state_dict`; the latter runs
    before weights and optimizer state are restored, so it may rebuild both.

    Attributes:
        stage: name of the current stage of training; empty in a run without stages.
    """

    stage = ""
    _resumed = False

    @property
    def batches_per_epoch(self) -> int:
        """Iterations of one epoch on this process."""
        return len(self.dataloader)

    @property
    def stage_iteration(self) -> int:
        """Iterations completed since the stage, or a run without stages, began."""
        return self._iter

    def position(self, completed: int) -> tuple[int, int]:
        """After ``completed`` iterations of the run: whole epochs, and iterations of the next one."""
        return divmod(completed, self.batches_per_epoch)

    def ends_stage(self, epoch: int) -> bool:
        """Whether the stage, or a run without stages, is over after ``epoch`` epochs of the run."""
        return epoch == self._max_epochs

    def state_dict(self, completed: int) -> dict[str, Any]:
        """The position after ``completed`` iterations, and what it depends on."""
        return {"iteration": completed, "epoch": self.position(completed)[0], "fixed": self.fixed()}

    def fixed(self) -> dict[str, Any]:
        """What must not change between a checkpoint and the process that continues from it."""
        return {
            "processes x batch size": get_world_size() * batch_size(self.dataloader),
            "iterations per epoch": self.batches_per_epoch,
            "samples in the training set": len(self.dataloader.dataset),
            "random seed": self.runner.seed,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a saved position.

        Raises:
            CheckpointError: batch size, process count, data or seed differ, so the run could not go on as it
                began.
        """
        mine = self.fixed()
        differing = [
            f"{name} {old} → {mine[name]}" for name, old in state["fixed"].items() if mine.get(name) != old
        ]
        if differing:
            raise CheckpointError(
                f"cannot resume exactly, the run has changed since the checkpoint: {'; '.join(differing)}. "
                "Use the settings it began with, or start a new run in another --work-dir with "
                "load_from=CHECKPOINT"
            )
        self._iter, self._epoch = int(state["iteration"]), int(state["epoch"])
        self._resumed = True

    def run(self) -> torch.nn.Module:
        """Train to the last epoch; continue where `load_state_dict` pointed."""
        self.runner.call_hook("before_train")
        self.make_up_validation()
        self.train_epochs(self._max_epochs)
        self.runner.call_hook("after_train")
        return self.runner.model

    def make_up_validation(self) -> None:
        """Validate if the process before this one was stopped in the validation of its last epoch."""
        if self._resumed and self.position(self._iter)[1] == 0:
            self._validate_if_due()

    def train_epochs(self, until: int) -> None:
        """Train and validate until epoch ``until``."""
        while self._epoch < until and not self.stop_training:
            self.run_epoch()
            self._validate_if_due()

    def run_epoch(self) -> None:
        """The rest of the current epoch: all of it, unless the run is being continued inside."""
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        done = self.position(self._iter)[1]
        for index, batch in enumerate(self._batches(done), start=done):
            self.run_iter(index, batch)
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def _batches(self, done: int) -> Iterator[Any]:
        """The batches of this epoch after the first ``done``."""
        _set_epoch(self.dataloader.dataset, self._epoch)
        sampler = _sampler(self.dataloader)
        _set_epoch(sampler, self._epoch)
        if done:
            _skip(sampler, done * batch_size(self.dataloader))
        # Worker seeds come from this generator, not from the global one, which therefore stays the model's
        # alone.
        words = np.random.SeedSequence((self.runner.seed, self._epoch, get_rank())).generate_state(
            1, np.uint64
        )
        self.dataloader.generator = torch.Generator().manual_seed(int(words[0] >> 1))
        return iter(self.dataloader)

    def _validate_if_due(self) -> None:
        if self.runner.val_loop is not None and self._validation_is_due():
            share_buffers(self.runner.bare_model)
            with randomness.shielded():
                self.runner.val_loop.run()

    def _validation_is_due(self) -> bool:
        self._decide_current_val_interval()
        due = self._epoch % self.val_interval == 0 or self.ends_stage(self._epoch)
        return due and self._epoch >= self.val_begin


class _ExactEvaluation:
    """What `EvalLoop` and `FinalEvalLoop` share: precision, and metrics that know their data set."""

    runner: Any
    dataloader: Any
    evaluator: Any
    precision: str

    def _prepare(self, precision: str) -> None:
        model = self.runner.model
        self.precision = choose_precision(precision, next(model.parameters()).device)
        runner = self.runner
        name = type(runner.bare_model).__name__
        context = EvaluationContext(
            self.dataloader.dataset, runner.work_dir, name, self.precision, runner.evaluated_checkpoint
        )
        for metric in self.evaluator.metrics:
            if hasattr(metric, "use_context"):
                metric.use_context(context)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        device = next(self.runner.model.parameters()).device
        with torch.no_grad(), computing_in(self.precision, device):
            yield

    def _evaluate(self, mode: str) -> dict[str, float]:
        """One pass over this process's share of the data set, then the metrics over all shares.

        Hooks are called as MMEngine calls them, ``mode`` being ``"val"`` or ``"test"``.
        """
        call = self.runner.call_hook
        call(f"before_{mode}")
        call(f"before_{mode}_epoch")
        model = self.runner.model
        model.eval()
        predict = (model.module if is_model_wrapper(model) else model).val_step
        for index, batch in enumerate(self.dataloader):
            call(f"before_{mode}_iter", batch_idx=index, data_batch=batch)
            with self._computing():
                outputs = predict(batch)
            self.evaluator.process(data_samples=outputs, data_batch=batch)
            call(f"after_{mode}_iter", batch_idx=index, data_batch=batch, outputs=outputs)
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        call(f"after_{mode}_epoch", metrics=metrics)
        call(f"after_{mode}")
        return metrics


@LOOPS.register_module()
class EvalLoop(_ExactEvaluation, ValLoop):
    """`ValLoop` with a choice of precision, on CPUs too.

    Args:
        runner: the runner.
        dataloader: config or data loader. Of a config, samplers are optional: `WholeBatchSampler` gives
            every batch to exactly one process.
        evaluator: config or evaluator.
        precision: ``"float32"``, ``"bfloat16"`` or ``"auto"``; kept with the results.
    """

    def __init__(self, runner: Any, dataloader: Any, evaluator: Any, precision: str = "float32") -> None:
        super().__init__(runner, _deal_whole_batches(dataloader), evaluator)
        self._prepare(precision)

    def run(self) -> dict[str, float]:
        """Evaluate; returns the metrics."""
        return self._evaluate("val")


@LOOPS.register_module()
class FinalEvalLoop(_ExactEvaluation, TestLoop):
    """`TestLoop` with a choice of precision; same arguments as `EvalLoop`."""

    def __init__(self, runner: Any, dataloader: Any, evaluator: Any, precision: str = "float32") -> None:
        super().__init__(runner, _deal_whole_batches(dataloader), evaluator)
        self._prepare(precision)

    def run(self) -> dict[str, float]:
        """Evaluate; returns the metrics."""
        return self._evaluate("test")


def _deal_whole_batches(dataloader: Any) -> Any:
    """An evaluation loader's config with samplers whose batches do not depend on the process count."""
    if not isinstance(dataloader, dict):
        return dataloader
    config = {**dataloader, "batch_sampler": {"type": WholeBatchSampler}}
    config.setdefault("sampler", {"type": ExactEvalSampler})
    return config


def batch_size(dataloader: DataLoader) -> int:
    """Samples of one batch of one process."""
    return dataloader.batch_size or dataloader.batch_sampler.batch_size  # type: ignore[union-attr]


def _sampler(dataloader: DataLoader) -> Any:
    return getattr(dataloader.batch_sampler, "sampler", None) or dataloader.sampler


def _set_epoch(part: Any, epoch: int) -> None:
    if hasattr(part, "set_epoch"):
        part.set_epoch(epoch)


def _skip(sampler: Any, samples: int) -> None:
    if not hasattr(sampler, "skip"):
        raise CheckpointError(
            f"{type(sampler).__name__} cannot continue inside an epoch: use EpochSampler as the "
            "train_dataloader's sampler, or save checkpoints at epoch borders only"
        )
    sampler.skip(samples)
