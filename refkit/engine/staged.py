"""Training in stages: one run, one config, several optimizers, and models that change between them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import EMAHook
from mmengine.model import is_model_wrapper
from torch.utils.data import DataLoader

from refkit.backbones.hilora import adapted_names
from refkit.engine.checkpoint import CheckpointError, checkpoint_path, list_checkpoints, read_checkpoint
from refkit.engine.config import ConfigError
from refkit.engine.hooks.checkpointing import SafeCheckpointHook
from refkit.engine.loops import ExactTrainLoop, batch_size
from refkit.engine.stages import Stage, choose_range, plan_stages
from refkit.registry import LOOPS
from refkit.zoo.weights import load_weights


@LOOPS.register_module()
class StagedTrainLoop(ExactTrainLoop):
    """`ExactTrainLoop` that trains stage after stage.

    When a stage begins, the model is told its part (`ReferringModel.enter_stage`), and optimizer, schedules
    and a moving average of the weights (EMA) start anew. Epochs and iterations of the run go on counting, so
    that data order and augmentation do not repeat. Every stage ends with a checkpoint and, where the model
    answers in it, a validation. A run that was killed, inside a stage or between two, ends with the bits of
    one that was not.

    Args:
        runner: the runner.
        dataloader: config or data loader.
        stages: configs of `Stage`, in order.
        val_begin: first epoch of the run that is validated, ends of stages apart.
        val_interval: epochs of the run between validations.

    Raises:
        ConfigError: broken stages, or one that starts from the best weights, and nothing says what is best.
    """

    dataloader: DataLoader

    def __init__(
        self,
        runner: Any,
        dataloader: DataLoader | dict[str, Any],
        stages: Sequence[Mapping[str, Any]],
        val_begin: int = 1,
        val_interval: int = 1,
    ) -> None:
        super().__init__(runner, dataloader, 0, val_begin, val_interval)
        self._own_batch_size = batch_size(self.dataloader)
        self._stages = plan_stages(stages, lambda size: len(self._loader(size)))
        self._first, self._last = choose_range(self._stages, *runner.stage_range)
        self._check_plan()
        self._max_epochs = self._stages[self._last].end_epoch
        self._max_iters = self._stages[self._last].first_iteration + self._stages[self._last].iterations
        self._optim_config = copy.deepcopy(runner.optim_wrapper)
        self._schedule_config = copy.deepcopy(runner.param_schedulers)
        # The runner goes on to build an optimizer: let it be one for a model in its first stage.
        self._select(self._first)
        self._change_model(None)
        runner.optim_wrapper = self.current.optim_config(self._optim_config)
        runner.param_schedulers = self.current.schedules(self._schedule_config)

    @property
    def current(self) -> Stage:
        """The stage being trained."""
        return self._stages[self._index]

    @property
    def model_stage(self) -> Mapping[str, Any] | None:
        """What the model was told for the current stage."""
        return self.current.model

    @property
    def stage_iteration(self) -> int:
        """Iterations completed since the current stage began."""
        return self._iter - self.current.first_iteration

    def position(self, completed: int) -> tuple[int, int]:
        """As for `ExactTrainLoop`; ``completed`` lies in the current stage."""
        epochs, done = divmod(completed - self.current.first_iteration, self.batches_per_epoch)
        return self.current.first_epoch + epochs, done

    def ends_stage(self, epoch: int) -> bool:
        """Whether the current stage is over after ``epoch`` epochs of the run."""
        return epoch == self.current.end_epoch

    def state_dict(self, completed: int) -> dict[str, Any]:
        """The position, the stage, and the names of the layers that carry adapters."""
        state = super().state_dict(completed)
        return {**state, "stage": self.stage, "adapted": adapted_names(self.runner.bare_model)}

    def fixed(self) -> dict[str, Any]:
        """As for `ExactTrainLoop`, and where in the run the stage lies."""
        place = {"stage": self.stage, "first epoch of the stage": self.current.first_epoch}
        return {**super().fixed(), **place, "first iteration of the stage": self.current.first_iteration}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a saved position: the stage's loader, model and optimizer are built, ready for their state.

        Raises:
            CheckpointError: the run has changed, or the stage is no longer in the config.
            ConfigError: ``--until-stage`` names a stage that the run has left behind.
        """
        names = [stage.name for stage in self._stages]
        if state.get("stage") not in names:
            raise CheckpointError(
                f"cannot resume: the checkpoint is of stage {state.get('stage')!r}, the config has stages "
                f"{', '.join(names)}. Use the config it began with, or start a new run in another --work-dir"
            )
        self._select(names.index(state["stage"]))
        if self._index > self._last:
            raise ConfigError(
                f"--until-stage {self._stages[self._last].name}: the run is in stage {self.stage} already"
            )
        super().load_state_dict(state)
        self._change_model(state["adapted"])
        self._restart_optimizer()

    def run(self) -> torch.nn.Module:
        """Train to the last stage's end; continue where `load_state_dict` pointed."""
        if not self._resumed:
            self._begin(self._first)
        self._announce()
        self.runner.call_hook("before_train")
        self.make_up_validation()
        self.train_epochs(self.current.end_epoch)
        while self._index < self._last and not self.stop_training:
            self._begin(self._index + 1)
            self._announce()
            self.train_epochs(self.current.end_epoch)
        self.runner.call_hook("after_train")
        return self.runner.model

    def _validation_is_due(self) -> bool:
        if not getattr(self.runner.bare_model, "answers", True):
            return False  # a stage of pre-training
        # Even before val_begin: the next stage may start from the best weights of this one.
        return self.ends_stage(self._epoch) or super()._validation_is_due()

    def _begin(self, index: int) -> None:
        """Enter a stage at its first iteration, with the weights it starts from."""
        stage = self._stages[index]
        if index and (stage.start == "best" or index == self._first):
            self._load_start(stage, self._stages[index - 1])
        self._iter, self._epoch = stage.first_iteration, stage.first_epoch
        self._select(index)
        self._change_model(None)
        self._restart_optimizer()

    def _select(self, index: int) -> None:
        self._index, self.stage = index, self._stages[index].name
        size = self.current.batch_size or self._own_batch_size
        if size != batch_size(self.dataloader):
            self.dataloader = self._loader(size)

    def _loader(self, size: int | None) -> DataLoader:
        """The run's data loader with other batches; data set and sampler are shared."""
        loader = self.dataloader
        if size is None or size == batch_size(loader):
            return loader
        if loader.batch_size is None:
            raise ConfigError(
                "batch_size in a stage needs a train_dataloader without a batch sampler of its own"
            )
        return DataLoader(
            loader.dataset,
            size,
            sampler=loader.sampler,
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
            pin_memory=loader.pin_memory,
            drop_last=loader.drop_last,
            timeout=loader.timeout,
            worker_init_fn=loader.worker_init_fn,
            multiprocessing_context=loader.multiprocessing_context,
            prefetch_factor=loader.prefetch_factor,
            persistent_workers=loader.persistent_workers,
        )

    def _change_model(self, adapted: Sequence[str] | None) -> None:
        """Tell the model its stage; ``adapted`` as in `ReferringModel.enter_stage`."""
        runner, model = self.runner, self.runner.bare_model
        if self.current.model is None:
            return
        if not hasattr(model, "enter_stage"):
            raise ConfigError(
                f"train_cfg.stages, stage {self.current.number} ({self.stage}): {type(model).__name__} has "
                "no enter_stage, so it cannot obey model=…"
            )
        model.enter_stage(self.current.model, adapted)
        if is_model_wrapper(runner.model):
            # The wrapper keeps to the parameters that it found at its making.
            runner.model = model
            runner.model = runner.wrap_model(runner.cfg.get("model_wrapper_cfg"), model)

    def _restart_optimizer(self) -> None:
        runner = self.runner
        runner.optim_wrapper = runner.build_optim_wrapper(self.current.optim_config(self._optim_config))
        runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
        schedules = self.current.schedules(self._schedule_config)
        runner.param_schedulers = None if schedules is None else runner.build_param_scheduler(schedules)
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                hook.before_run(runner)

    def _announce(self) -> None:
        """Count updates from the stage's begin (accumulated gradients end with it), and log the stage."""
        stage, runner = self.current, self.runner
        runner.optim_wrapper.initialize_count_status(
            runner.model, self._iter - stage.first_iteration, stage.iterations
        )
        trained = sum(item.numel() for item in runner.model.parameters() if item.requires_grad) / 1e6
        runner.logger.info(
            f"stage {stage.number}/{len(self._stages)} {stage.name}: epochs {stage.first_epoch + 1} to "
            f"{stage.end_epoch} of {stage.iterations_per_epoch} iterations each, {trained:.3f} M parameters "
            "trained"
        )

    def _load_start(self, stage: Stage, before: Stage) -> None:
        """Load what a stage starts from: the stage before it left it in the work directory."""
        folder = Path(self.runner.work_dir)
        best = folder / self._best_name(before) if stage.start == "best" else None
        file = best or checkpoint_path(folder, stage.first_iteration)
        if file.is_file():
            checkpoint = read_checkpoint(file)
            load_weights(self.runner.bare_model, checkpoint["state_dict"] if best else _trained(checkpoint))
            self.runner.logger.info(f"stage {stage.name} starts from {file}")
        elif stage.number - 1 == self._first and self.runner.cfg.get("load_from"):
            self.runner.logger.info(f"stage {stage.name} starts from {self.runner.cfg.load_from}")
        else:
            raise ConfigError(
                f"stage {stage.name} starts from the {stage.start} weights of stage {before.name}, and there "
                f"is no {file}: train that stage first (--until-stage {before.name}) or set load_from=WEIGHTS"
            )

    def _best_name(self, stage: Stage) -> str:
        for hook in self.runner.hooks:
            if isinstance(hook, SafeCheckpointHook) and hook.keeps_best:
                return hook.best_name(stage.name)
        raise ConfigError(
            f"the stage after {stage.name} starts from its best weights, and nothing says what is best: set "
            "default_hooks.checkpoint.save_best to a metric, or start='last'"
        )

    def _check_plan(self) -> None:
        """Find out now, not after hours, that a stage will have nothing to start from or asks too much."""
        if check := getattr(self.runner.bare_model, "check_stage", None):
            for stage in self._stages:
                check(stage.model or {})
        for before, stage in pairwise(self._stages[self._first : self._last + 1]):
            if stage.start == "best":
                self._best_name(before)
                if self.runner.cfg.get("val_dataloader") is None:
                    raise ConfigError(f"stage {stage.name} starts from the best weights: set val_dataloader")
        if self.runner.stage_range[0] is not None:
            self._require_nothing_later(self._stages[self._first])

    def _require_nothing_later(self, stage: Stage) -> None:
        for file in list_checkpoints(self.runner.work_dir):
            if int(file.stem.removeprefix("iter_")) > stage.first_iteration:
                raise CheckpointError(
                    f"--from-stage {stage.name}: {file} was written after the begin of that stage; continue "
                    "the run with --resume, or begin the stage in another --work-dir with load_from=WEIGHTS"
                )


def _trained(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """The weights that were trained; with a moving average, a checkpoint's ``state_dict`` holds that."""
    averaged = checkpoint.get("ema_state_dict", {})
    prefix = "module."
    own = {name.removeprefix(prefix): value for name, value in averaged.items() if name.startswith(prefix)}
    return {**checkpoint["state_dict"], **own}
