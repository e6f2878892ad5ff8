"""One budget for every row: how a training config gets a given number of iterations, whatever its stages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from refkit.engine.ablation.table import TableError
from refkit.engine.config import RefkitConfig


def total_epochs(config: RefkitConfig) -> int:
    """Epochs of a run, over all stages where it is trained in stages.

    Raises:
        TableError: the training loop counts something else.
    """
    train_cfg = config.get("train_cfg") or {}
    stages = train_cfg.get("stages")
    epochs = sum(stage.get("epochs", 0) for stage in stages) if stages else train_cfg.get("max_epochs")
    if not isinstance(epochs, int) or epochs < 1:
        raise TableError(
            f"{config.filename}: train_cfg must state max_epochs or stages with epochs: the budget sets how "
            "long an epoch is"
        )
    return epochs


def common_iterations(wanted: float, epochs: Iterable[int]) -> int:
    """The number of iterations next to ``wanted`` that is the same for rows with these numbers of epochs."""
    step = math.lcm(*epochs)
    return max(step, round(wanted / step) * step)


def set_iterations(config: RefkitConfig, iterations: int) -> None:
    """Make a run last exactly so many iterations: the epochs stay, their length follows.

    Args:
        config: is changed in place; its sampler must be `EpochSampler`.
        iterations: a multiple of the config's epochs.

    Raises:
        TableError: the config cannot follow a budget.
    """
    epochs = total_epochs(config)
    if iterations % epochs:
        raise ValueError(f"{iterations} iterations cannot be shared equally by {epochs} epochs")
    loader = config.get("train_dataloader") or {}
    sampler = loader.get("sampler") or {}
    kind = sampler.get("type")
    if (
        str(getattr(kind, "__name__", kind)).rpartition(".")[2] != "EpochSampler"
        or "batch_size" not in loader
    ):
        raise TableError(
            f"{config.filename}: train_dataloader needs a batch_size and sampler=dict(type=EpochSampler), "
            "whose epochs can have any length"
        )
    _check_follows(config, loader["batch_size"])
    sampler["samples"] = iterations // epochs * loader["batch_size"]


def _check_follows(config: RefkitConfig, batch_size: int) -> None:
    """Refuse what would make the budget unequal between rows, or a schedule that does not know about it."""
    stages = config.train_cfg.get("stages") or ()
    if any(stage.get("batch_size", batch_size) != batch_size for stage in stages):
        raise TableError(
            f"{config.filename}: stages of a row have the batch size of train_dataloader, {batch_size}: rows "
            "are compared at equal numbers of iterations and samples"
        )
    for scheduler in _schedulers(config):
        if not scheduler.get("by_epoch", True):
            raise TableError(
                f"{config.filename}: the schedule {dict(scheduler)} counts iterations and would not follow "
                "the budget: write it in epochs, with by_epoch=True and convert_to_iter_based=True"
            )


def _schedulers(config: RefkitConfig) -> Iterable[Mapping[str, Any]]:
    own = config.get("param_scheduler") or []
    yield from [own] if isinstance(own, Mapping) else own
    for stage in config.train_cfg.get("stages") or ():
        inner = stage.get("param_scheduler") or []
        yield from [inner] if isinstance(inner, Mapping) else inner
