"""The plan of a run in stages: what each trains, how long, from which weights, and its place in the run."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from refkit.engine.config import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_KEYS = ("name", "epochs", "lr", "batch_size", "start", "optim_wrapper", "param_scheduler", "model")
_STARTS = ("best", "last")


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a run.

    Attributes:
        name: letters, digits, ``-`` and ``_``.
        epochs: of this stage.
        lr: learning rate; None = that of ``optim_wrapper``.
        batch_size: per process; None = that of ``train_dataloader``.
        start: ``"last"``: goes on with the weights that the stage before it ended with; ``"best"``: with its
            best.
        optim_wrapper: changes to the config's ``optim_wrapper``, merged into it.
        param_scheduler: schedules in place of the config's. Epochs and iterations of a schedule count from
            the stage's begin, and one without ``end`` spans the stage.
        model: what the model is told (`ReferringModel.enter_stage`); None = it is told nothing.
        number: place in the run, from 1.
        first_epoch: epochs of the run before it.
        first_iteration: iterations of the run before it.
        iterations_per_epoch: on one process.
    """

    name: str
    epochs: int
    lr: float | None = None
    batch_size: int | None = None
    start: str = "last"
    optim_wrapper: Mapping[str, Any] = field(default_factory=dict)
    param_scheduler: Any = None
    model: Mapping[str, Any] | None = None
    number: int = 1
    first_epoch: int = 0
    first_iteration: int = 0
    iterations_per_epoch: int = 0

    @property
    def end_epoch(self) -> int:
        """Epochs of the run after it."""
        return self.first_epoch + self.epochs

    @property
    def iterations(self) -> int:
        """Iterations of this stage."""
        return self.epochs * self.iterations_per_epoch

    def optim_config(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """The config's ``optim_wrapper`` with this stage's changes and learning rate."""
        merged = _merged(base, self.optim_wrapper)
        if self.lr is not None:
            merged["optimizer"] = {**merged.get("optimizer", {}), "lr": self.lr}
        return merged

    def schedules(self, base: Any) -> list[dict[str, Any]] | None:
        """Schedules of this stage; each ends with it unless it says otherwise."""
        chosen = base if self.param_scheduler is None else self.param_scheduler
        if chosen is None:
            return None
        schedules = [chosen] if isinstance(chosen, Mapping) else chosen
        return [
            {
                "end": self.epochs if schedule.get("by_epoch", True) else self.iterations,
                **copy.deepcopy(schedule),
            }
            for schedule in schedules
        ]


def plan_stages(
    configs: Sequence[Mapping[str, Any]], iterations_per_epoch: Callable[[int | None], int]
) -> list[Stage]:
    """Stages from their configs, each placed after the one before it.

    A stage that leaves out ``model`` keeps that of the stage before it.

    Args:
        configs: keys are the fields of `Stage` down to ``model``.
        iterations_per_epoch: of a batch size (None = the data loader's own).

    Raises:
        ConfigError: no stages, unknown or missing key, a name used twice, or a value out of range.
    """
    if not configs:
        raise ConfigError("train_cfg.stages: a run in stages needs at least one")
    stages: list[Stage] = []
    for number, config in enumerate(configs, start=1):
        _check(config, number, [stage.name for stage in stages])
        before = stages[-1] if stages else None
        stages.append(
            Stage(
                **{"model": before.model if before else None, **config},
                number=number,
                first_epoch=before.end_epoch if before else 0,
                first_iteration=before.first_iteration + before.iterations if before else 0,
                iterations_per_epoch=iterations_per_epoch(config.get("batch_size")),
            )
        )
    return stages


def choose_range(stages: Sequence[Stage], begin: str | None, until: str | None) -> tuple[int, int]:
    """Indices of the first and the last stage to train.

    Args:
        stages: of the config.
        begin: name of the first, or its number from 1; None = the first of all.
        until: the same for the last.

    Raises:
        ConfigError: no such stage (the message lists them all), or the last before the first.
    """
    first = 0 if begin is None else _index(stages, begin, "--from-stage")
    last = len(stages) - 1 if until is None else _index(stages, until, "--until-stage")
    if last < first:
        raise ConfigError(f"--from-stage {stages[first].name} comes after --until-stage {stages[last].name}")
    return first, last


def _index(stages: Sequence[Stage], wanted: str, option: str) -> int:
    for index, stage in enumerate(stages):
        if wanted in (stage.name, str(stage.number)):
            return index
    known = ", ".join(f"{stage.number} {stage.name}" for stage in stages)
    near = difflib.get_close_matches(wanted, [stage.name for stage in stages], n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ConfigError(f"{option} {wanted}: no such stage; the config has {known}.{hint}")


def _check(config: Mapping[str, Any], number: int, earlier: Sequence[str]) -> None:
    here = f"train_cfg.stages, stage {number}"
    if unknown := [key for key in config if key not in _KEYS]:
        raise ConfigError(f"{here}: unknown key {unknown[0]!r}; known are {', '.join(_KEYS)}")
    name, epochs = config.get("name"), config.get("epochs")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.isdigit() or name in earlier:
        raise ConfigError(
            f"{here}: name={name!r}; every stage needs a name of its own, made of letters, digits, - and _, "
            "and not a number"
        )
    for key, value in (("epochs", epochs), ("batch_size", config.get("batch_size", 1))):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{here} ({name}): {key}={value!r}; expected a whole number from 1")
    lr = config.get("lr")
    if lr is not None and not lr > 0:
        raise ConfigError(f"{here} ({name}): lr={lr!r}; expected a positive number")
    if config.get("start", "last") not in _STARTS:
        raise ConfigError(f"{here} ({name}): start={config['start']!r}; expected 'best' or 'last'")
    if number == 1 and config.get("start") == "best":
        raise ConfigError(f"{here} ({name}): nothing comes before it whose best weights it could start from")


def _merged(base: Any, changes: Any) -> Any:
    """``base`` with ``changes`` laid over it, mapping by mapping."""
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping):
        return copy.deepcopy(changes)
    plain = {key: copy.deepcopy(value) for key, value in base.items()}
    return {**plain, **{key: _merged(plain.get(key), value) for key, value in changes.items()}}
