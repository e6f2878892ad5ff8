"""The runner: MMEngine's, started quietly, with exact checkpoints and strict loading."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any, ClassVar, cast

from mmengine.dist import barrier, is_main_process
from mmengine.logging import MMLogger
from mmengine.model import BaseModel, is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from refkit.engine import randomness
from refkit.engine.checkpoint import (
    CheckpointError,
    find_resumable,
    list_checkpoints,
    read_checkpoint,
    write_checkpoint,
)
from refkit.engine.config import ConfigError, RefkitConfig, find_file, leaves
from refkit.engine.distributed import choose_launcher, share_buffers, start_processes
from refkit.engine.hooks.cut_texts import CutTextsHook
from refkit.engine.hooks.optimizer_step import OptimizerStepHook
from refkit.engine.hooks.run_record import RunRecordHook
from refkit.engine.run_record import write_environment
from refkit.engine.sharded_model import ShardedModel

_RUN_NUMBERS = itertools.count(1)
_NOISE = (
    "has no metainfo",
    "Distributed training is not used, all SyncBatchNorm",
    "Hooks will be executed in the following order",
)


class RefkitRunner(Runner):
    """`Runner` whose checkpoints resume exactly and whose loading is strict.

    Overrides, all of them documented extension points or public methods: what is logged at the start
    (``environment.json`` instead of 150 lines), how a run is resumed, how initial weights are loaded.
    """

    _has_loaded: bool
    evaluated_checkpoint = ""  # ``sha256:…`` of the weights that `refkit.engine.launch.test` loads
    stage_range: tuple[str | None, str | None] = (None, None)  # first and last to train, see StagedTrainLoop
    last_metrics: ClassVar[dict[str, float]] = {}  # of the newest evaluation; set on the instance

    @property
    def is_standalone_evaluation(self) -> bool:
        """Whether this runner evaluates only (then there is no training whose best weights could be kept)."""
        return self._train_loop is None or isinstance(self._train_loop, dict)

    @property
    def bare_model(self) -> nn.Module:
        """The model without a wrapper around it."""
        return self.model.module if is_model_wrapper(self.model) else self.model

    def load_or_resume(self) -> None:
        """Continue from the newest intact checkpoint of the work directory, or load initial weights."""
        if self._has_loaded:
            return
        self._has_loaded = True
        newest = find_resumable(self.work_dir, self.logger.warning) if self._resume else None
        if newest is not None:
            self.resume(str(newest))
        elif self._load_from is not None:
            self.load_initial_weights(self._load_from)
        elif self._resume:
            self.logger.info(f"{self.work_dir} holds no checkpoint yet: starting from the beginning")

    def resume(self, filename: str, *_: Any, **__: Any) -> None:
        """Restore everything a checkpoint holds: position, weights, optimizer, schedules, logs, generators.

        Raises:
            CheckpointError: damaged, weights only, or of a run with other data, seed or batch size.
        """
        checkpoint = read_checkpoint(filename)
        if "loop" not in checkpoint:
            raise CheckpointError(
                f"{filename}: holds weights only, nothing to resume from; use load_from instead"
            )
        self._report_changed_settings(checkpoint["meta"].get("settings", {}))
        self.train_loop.load_state_dict(checkpoint["loop"])
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        self.bare_model.load_state_dict(checkpoint["state_dict"], strict=True)
        self.message_hub.load_state_dict(checkpoint["message_hub"])
        self.optim_wrapper.load_state_dict(checkpoint["optimizer"])
        for scheduler, state in zip(self.param_schedulers or (), checkpoint["param_schedulers"], strict=True):
            scheduler.load_state_dict(state)
        self.logger.info(f"resumed from {filename}: epoch {self.epoch}, iteration {self.iter}")

    def write_training_state(self, path: Path, completed: int) -> None:
        """Write a checkpoint after ``completed`` iterations. Every process calls it, the first one writes."""
        share_buffers(self.bare_model)
        gathered: dict[str, Any] = {}
        self.call_hook("gather_training_state", extra=gathered)
        weights = self._weights()
        if is_main_process():
            checkpoint = weights | gathered
            checkpoint["loop"] = self.train_loop.state_dict(completed)
            checkpoint["message_hub"] = self.message_hub.state_dict()
            checkpoint["optimizer"] = self.optim_wrapper.state_dict()
            checkpoint["param_schedulers"] = [
                scheduler.state_dict() for scheduler in self.param_schedulers or ()
            ]
            self.call_hook("before_save_checkpoint", checkpoint=checkpoint)
            write_checkpoint(checkpoint, path)
            (Path(self.work_dir) / "last_checkpoint").write_text(f"{path}\n", "utf-8")
        barrier()

    def write_weights(self, path: Path) -> None:
        """Write the weights alone: those to use, which are the averaged ones where EMA is on."""
        checkpoint = self._weights()
        if is_main_process():
            self.call_hook("before_save_checkpoint", checkpoint=checkpoint)
            write_checkpoint({key: checkpoint[key] for key in ("meta", "state_dict")}, path)
        barrier()

    def _weights(self) -> dict[str, Any]:
        """Weights and where they come from. Every process calls it: shards are gathered."""
        whole = isinstance(self.model, ShardedModel)
        state = self.model.whole_state_dict() if whole else self.bare_model.state_dict()
        meta = {
            "config": self.cfg.pretty_text,
            "settings": self._settings(),
            "seed": self.seed,
            "experiment_name": self.experiment_name,
            "stage": self.train_loop.stage,
            "without": sorted(getattr(self.bare_model, "without", ())),
        }
        return {"meta": meta, "state_dict": dict(state)}

    def _settings(self) -> dict[str, str]:
        return {key: repr(value) for key, value in leaves(self.cfg.experiment())}

    def _report_changed_settings(self, old: dict[str, str]) -> None:
        new = self._settings()
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                change = f"{key}: {old.get(key, '(absent)')} → {new.get(key, '(absent)')}"
                self.logger.warning(f"setting changed since the checkpoint: {change}")

    def _init_model_weights(self) -> None:
        if isinstance(self.model, ShardedModel):
            cast("BaseModel", self.bare_model).init_weights()
            self.model.broadcast_weights()
        else:
            super()._init_model_weights()

    def load_initial_weights(self, source: str) -> None:
        """Load a weights file or the weights of a checkpoint, strictly.

        Args:
            source: file, relative to the current folder or to the checkout; keys that it may lack are named
                by ``load_allow_missing`` in the config.

        Raises:
            WeightError: keys or shapes do not fit.
        """
        from refkit.zoo.weights import load_weights

        load_weights(
            self.bare_model, find_file(source), allow_missing=self.cfg.get("load_allow_missing") or ()
        )
        self._has_loaded = True
        self.logger.info(f"loaded weights from {source}")

    def register_hooks(self, default_hooks: Any = None, custom_hooks: Any = None) -> None:
        """MMEngine's defaults, the config's, and refkit's own: ``run.json``, texts that were cut,
        the number of the optimizer step."""
        super().register_hooks(default_hooks, custom_hooks)
        self.register_hook(RunRecordHook())
        self.register_hook(CutTextsHook())
        self.register_hook(OptimizerStepHook())

    def build_logger(self, *arguments: Any, **options: Any) -> MMLogger:
        """MMEngine's logger without its routine remarks."""
        logger = super().build_logger(*arguments, **options)
        logger.addFilter(lambda record: not any(noise in str(record.msg) for noise in _NOISE))
        return logger

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        if is_main_process():
            write_environment(
                self.work_dir, {**env_cfg, **self._randomness_cfg, "processes": self._world_size}
            )
        self.logger.log(
            logging.INFO,
            f"{self.experiment_name}: config {self.cfg.fingerprint}, seed {self.seed}, {self.work_dir}",
        )


def build_runner(
    config: RefkitConfig,
    work_dir: str | Path,
    resume: bool = False,
    launcher: str = "auto",
    training: bool = True,
    stages: tuple[str | None, str | None] = (None, None),
) -> RefkitRunner:
    """Set up processes, randomness and runner for a config.

    Args:
        config: from `load_config`.
        work_dir: where logs, checkpoints and results go; made if missing.
        resume: continue from the newest checkpoint in ``work_dir`` (from the beginning where there is none).
        launcher: ``"auto"`` (torchrun's environment decides), ``"none"``, ``"pytorch"``, ``"slurm"`` or
            ``"mpi"``.
        training: False for a runner that only evaluates; parts of the config that train are left out.
        stages: first and last stage to train, by name or number from 1; None = from or to the end.

    Raises:
        CheckpointError: ``work_dir`` holds checkpoints of an earlier run and ``resume`` was not asked for.
        ConfigError: stages of a config that has none, or a first one to resume from.
    """
    _check_stages(config, stages, resume)
    launcher = choose_launcher(launcher)
    start_processes(launcher)
    folder = Path(work_dir).expanduser()
    # A stage may begin where an earlier run ended; it is StagedTrainLoop that sees whether it does.
    if training and not resume and stages[0] is None and list_checkpoints(folder):
        raise CheckpointError(
            f"{folder} holds checkpoints of an earlier run: continue it with --resume, "
            "or choose another --work-dir (or delete them)"
        )
    config.work_dir, config.resume, config.launcher = str(folder), resume, launcher
    # MMEngine finds log histories by experiment name, which has whole seconds; two runs of one process stay
    # apart.
    config.experiment_name = f"{Path(config.filename).stem}_{next(_RUN_NUMBERS)}"
    settings = config.get("randomness") or {}
    config.randomness = {**settings, "seed": settings.get("seed") or 0}
    if config.randomness.get("deterministic"):
        randomness.prepare_deterministic()
    if launcher != "none" and config.get("model_wrapper_cfg") is None:
        unused = bool(config.get("find_unused_parameters"))
        config.model_wrapper_cfg = {"type": "refkit.DistributedModel", "find_unused_parameters": unused}
    if not training:
        for key in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler", "val_dataloader"):
            config[key] = None
        config.val_cfg = config.val_evaluator = None
    runner = RefkitRunner.from_cfg(config)
    runner.stage_range = stages
    return runner


def _check_stages(config: RefkitConfig, stages: tuple[str | None, str | None], resume: bool) -> None:
    if any(stages) and "stages" not in (config.get("train_cfg") or {}):
        raise ConfigError(
            f"{config.filename}: has no train_cfg.stages, so --from-stage and --until-stage mean nothing"
        )
    if stages[0] is not None and resume:
        raise ConfigError(
            "--resume continues where the run stopped, --from-stage begins a stage: give one of them"
        )
