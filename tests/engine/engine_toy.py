"""A real model and data set of a few hundred parameters, so that runs take seconds: box regression on grey squares."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import nn

from refkit.backbones import HiLoRA
from refkit.data.digest import digest
from refkit.data.pipeline import SampleDataset
from refkit.data.schema import ImageRef, Record, Target
from refkit.models.base import ReferringModel
from refkit.registry import DATASETS, HOOKS, MODELS
from refkit.structures import Frame, Prediction, ReferringSample

SIZE = 8


@DATASETS.register_module(force=True)
class SquaresDataset(SampleDataset):
    """Squares on noise; the noise depends on the epoch, as augmentation would."""

    def __init__(self, count: int = 11, first: int = 0, seed: int = 0) -> None:
        super().__init__((), seed)
        self._count, self._first = count, first

    def __len__(self) -> int:
        return self._count

    @property
    def metainfo(self) -> dict[str, Any]:
        records = [self.record(index) for index in range(len(self))]
        return {"name": f"squares.toy.n{self._first}", "digest": digest(records), "records": ""}

    def record(self, index: int) -> Record:
        left, top, side = np.random.default_rng(self._first + index).integers((0, 0, 2), (4, 4, 5)).tolist()
        return Record(
            id=f"s{self._first + index}",
            image=ImageRef(id=str(index), file=f"{index}.png", width=SIZE, height=SIZE),
            text="the square",
            targets=(Target(box=(left, top, left + side, top + side)),),
            facts={"kind": ["even", "odd"][index % 2]},
        )

    def load(self, index: int) -> ReferringSample:
        record = self.record(index)
        noise = np.random.default_rng((self.seed, self.epoch, index)).integers(
            0, 99, (SIZE, SIZE, 3), np.uint8
        )
        left, top, right, bottom = (int(value) for value in record.targets[0].box)
        noise[top:bottom, left:right] = 255
        boxes = np.array([record.targets[0].box], np.float32)
        return ReferringSample(record.id, record.text, Frame.identity(SIZE, SIZE), noise, boxes)


@MODELS.register_module(force=True)
class SquareFinder(BaseModel):
    """Two layers with dropout; ``(B, 3, 8, 8)`` to a box."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width * 16, 4)

    def forward(self, inputs: dict[str, Any], data_samples: Any = None, mode: str = "tensor") -> Any:
        images = inputs["images"].float() / 255
        hidden = torch.relu(self.norm(self.backbone(images))).flatten(1)
        centre, side = (
            self.head(nn.functional.dropout(hidden, 0.2, self.training)).float().sigmoid().split(2, 1)
        )
        boxes = torch.cat((centre - side / 2, centre + side / 2), 1)
        if mode == "tensor":
            return {"pred_boxes": boxes}
        if mode == "loss":
            wanted = torch.from_numpy(np.stack([sample.boxes[0] for sample in data_samples])).to(boxes) / SIZE
            return {"loss_box": nn.functional.l1_loss(boxes, wanted)}
        pixels = (boxes * SIZE).cpu().numpy()
        return [Prediction(sample.id, box[None]) for sample, box in zip(data_samples, pixels, strict=True)]


@MODELS.register_module(force=True)
class FrozenFinder(SquareFinder):
    """Its convolution is not trained."""

    def __init__(self, width: int = 4) -> None:
        super().__init__(width)
        self.backbone.requires_grad_(False)


@MODELS.register_module(force=True)
class AdaptedFinder(ReferringModel):
    """Four residual blocks of one linear layer, which HiLoRA adapts two by two; ``extra`` is a part to leave out."""

    def __init__(self, fresh: bool = False, blocks: int = 4) -> None:
        adapters = dict(
            type=HiLoRA, preset=None, groups={"blocks": 2}, targets=["fc"], frozen=["blocks"], rank=2, alpha=4,
            fresh=fresh,
        )  # fmt: skip
        super().__init__(adapters=adapters)
        self.stem = nn.Linear(3 * SIZE * SIZE, 16)
        self.blocks = nn.ModuleList(nn.ModuleDict({"fc": nn.Linear(16, 16)}) for _ in range(blocks))
        self.norm = nn.LayerNorm(16)
        self.extra = nn.Linear(16, 16)
        self.head = nn.Linear(16, 4)
        self.apply_freeze()

    def tensors(self, inputs: dict[str, Any]) -> dict[str, Any]:
        hidden = self.stem(inputs["images"].float().flatten(1) / 255)
        for block in self.blocks:
            hidden = hidden + torch.relu(block["fc"](hidden))
        hidden = self.norm(hidden)
        if "extra" not in self.without:
            hidden = hidden + self.extra(hidden)
        centre, side = self.head(hidden).float().sigmoid().split(2, 1)
        return {"pred_boxes": torch.cat((centre - side / 2, centre + side / 2), 1)}

    def loss(self, inputs: dict[str, Any], data_samples: Any) -> dict[str, Any]:
        boxes = self.tensors(inputs)["pred_boxes"]
        wanted = torch.from_numpy(np.stack([sample.boxes[0] for sample in data_samples])).to(boxes) / SIZE
        return {"loss_box": nn.functional.l1_loss(boxes, wanted)}

    def predict(self, inputs: dict[str, Any], data_samples: Any) -> list[Prediction]:
        pixels = (self.tensors(inputs)["pred_boxes"] * SIZE).detach().cpu().numpy()
        return [Prediction(sample.id, box[None]) for sample, box in zip(data_samples, pixels, strict=True)]


@HOOKS.register_module(force=True)
class KillHook(Hook):
    """Ends the process as ``kill -9`` does, after an iteration or inside the n-th writing of a checkpoint."""

    priority = "ABOVE_NORMAL"

    def __init__(self) -> None:
        self.iteration = int(os.environ.get("KILL_AT_ITERATION", "0"))
        self.validation = int(os.environ.get("KILL_IN_VALIDATION", "0"))

    def before_run(self, runner: Any) -> None:
        moment = os.environ.get("KILL_IN_WRITE", "")
        if moment:
            _die_while_writing(int(moment))

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if self.iteration and runner.iter + 1 == self.iteration:
            os.kill(os.getpid(), signal.SIGKILL)

    def before_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if self.validation and runner.iter == self.validation and batch_idx == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def _die_while_writing(count: int) -> None:
    """Die in the middle of the bytes of the ``count``-th checkpoint: half of it is in the temporary file."""
    from refkit.engine import checkpoint

    write, seen = checkpoint._HashingWriter.write, {"files": set()}

    def dying(self: Any, data: bytes) -> int:
        seen["files"].add(id(self))
        if len(seen["files"]) == count and len(data) > 500:
            write(self, bytes(data)[: len(data) // 2])
            self.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return write(self, data)

    checkpoint._HashingWriter.write = dying


def weights(path: Path) -> dict[str, torch.Tensor]:
    """The state dict of a checkpoint, read with torch's safe loader."""
    return torch.load(path, weights_only=True)["state_dict"]
