"""What is measured: a config's model, with random weights, on its own data or on drawn pictures."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import Tensor

from refkit.data.collate import collate
from refkit.data.images import ImageError
from refkit.data.pipeline import SampleDataset
from refkit.data.schema import RecordError
from refkit.engine.config import RefkitConfig
from refkit.engine.precision import computing_in
from refkit.inference.benchmark.absent import without_files
from refkit.inference.benchmark.pictures import write_benchmark_records
from refkit.registry import DATASETS, MODELS
from refkit.structures import Prediction

Run = Callable[[], Any]


class BenchmarkError(ValueError):
    """A config that cannot be measured."""


class Subject:
    """A model with one batch of training and one of evaluation; each method returns a call that can be timed.

    Args:
        config: with ``model``, ``optim_wrapper``, ``train_dataloader``, and one to test or validate on.
        batch_size: samples per batch.
        device: where the model computes.
        folder: for pictures, if the config's data are absent.

    Attributes:
        test_batch: the batch of evaluation, as collated.
        note: where the data come from.

    Raises:
        BenchmarkError: a part of the config is missing.
    """

    def __init__(self, config: RefkitConfig, batch_size: int, device: torch.device, folder: Path) -> None:
        self.device = device
        self.batch_size = batch_size
        self.model = cast(BaseModel, MODELS.build(without_files(_part(config, "model"), folder))).to(device)
        _enter_last_stage(self.model, config)
        with DefaultScope.overwrite_default_scope("refkit"):
            self._wrapper = build_optim_wrapper(self.model, _part(config, "optim_wrapper"))
        evaluation = config.get("test_dataloader") or _part(config, "val_dataloader")
        self._train_set, own = _dataset(
            _part(config, "train_dataloader")["dataset"], batch_size, folder / "train"
        )
        self._test_set, _ = _dataset(evaluation["dataset"], batch_size, folder / "test")
        self.note = (
            "Data of the config." if own else "Drawn 640 x 480 pictures (the config's data are not here)."
        )
        self._train_batch = collate([self._train_set[index] for index in range(batch_size)])
        self.test_batch = collate([self._test_set[index] for index in range(batch_size)])

    def loading(self) -> Run:
        """Decodes, transforms and collates one training batch in this process."""
        return lambda: collate([self._train_set[index] for index in range(self.batch_size)])

    def training_step(self, precision: str) -> Run:
        """Forward, backward and update on one batch, preprocessing included."""

        def run() -> dict[str, Tensor]:
            self._wrapper.precision = precision
            return self.model.train_step(self._train_batch, self._wrapper)

        return run

    def held(self) -> list[Tensor]:
        """Parameters, buffers and the state of the optimizer."""
        states = self._wrapper.optimizer.state.values()
        kept = [value for state in states for value in state.values() if isinstance(value, Tensor)]
        return [*self.model.parameters(), *self.model.buffers(), *kept]

    def evaluation(self, precision: str) -> Run:
        """Predictions for one batch, preprocessing and conversion to pixels included."""

        def run() -> list[Prediction]:
            with torch.inference_mode(), computing_in(precision, self.device):
                return self.model.test_step(self.test_batch)

        return run


def _enter_last_stage(model: Any, config: RefkitConfig) -> None:
    """A model trained in stages is measured as its last stage trains it."""
    stages = (config.get("train_cfg") or {}).get("stages")
    if stages:
        model.enter_stage(stages[-1].get("model", {}))


def _part(config: RefkitConfig, name: str) -> dict[str, Any]:
    if not config.get(name):
        raise BenchmarkError(f"{config.filename}: no {name!r}, so there is nothing to measure.")
    return copy.deepcopy(config.to_dict()[name])


def _dataset(config: dict[str, Any], count: int, folder: Path) -> tuple[SampleDataset, bool]:
    """The config's data set and True, or drawn pictures through its transforms and False.

    Of a mixture, the transforms of the first member are taken.
    """
    config = without_files(config, folder)
    try:
        dataset = cast(SampleDataset, DATASETS.build(copy.deepcopy(config)))
        dataset[0]
        own = True
    except (OSError, RecordError, ImageError):
        like = next(iter(config.get("members", [config])))
        drawn = {
            "type": "ReferringDataset",
            "records": str(write_benchmark_records(folder.resolve(), count)),
            "image_root": str(folder.resolve() / "pictures"),
            "pipeline": like.get("pipeline", []),
            "with_masks": like.get("with_masks", False),
        }
        dataset, own = cast(SampleDataset, DATASETS.build(drawn)), False
    if len(dataset) < count:
        raise BenchmarkError(
            f"{len(dataset)} samples do not fill a batch of {count}; choose a smaller --batch-size."
        )
    return dataset, own
