"""Load a model and ask it: one picture and a sentence, or a whole data set.

Example::

    inferencer = load_model("refshapes-hivg-tiny")
    prediction = inferencer.ground("scene.png", "the red circle")
    prediction.boxes  # (1, 4) xyxy in pixels of scene.png
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmengine.model import BaseModel
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from refkit.backbones.state import foreign_layout
from refkit.backbones.tokenizer import cut_summary, tokenizers_of
from refkit.data.collate import collate
from refkit.data.transforms.compose import Compose
from refkit.engine.checkpoint import require_intact, trained_without
from refkit.engine.config import load_config
from refkit.engine.precision import choose_precision, computing_in
from refkit.inference.export import self_contained
from refkit.inference.model_config import ModelConfig
from refkit.inference.question import Picture, QuestionError, check_expression, read_picture
from refkit.inference.source import ModelSource, ModelSourceError, locate_model
from refkit.registry import MODELS
from refkit.structures import Frame, Prediction, ReferringSample
from refkit.zoo.index import file_sha256
from refkit.zoo.weights import load_weights, read_metadata, save_weights, tensor_names

_LOG = logging.getLogger(__name__)
_SAVE_IT_WHOLE = "Save it with Inferencer.save, or name the work folder it came from"


class DeviceError(ValueError):
    """A device that does not exist or that this machine lacks."""


def load_model(
    model: str | Path, device: str | torch.device | None = None, precision: str = "auto"
) -> Inferencer:
    """A model ready to answer, its adapters merged.

    Args:
        model: a name of the zoo, a weights file, a training checkpoint beside its config, or a work folder.
        device: where it computes; a GPU if there is one, else the CPU.
        precision: ``"float32"``, ``"bfloat16"`` or ``"auto"``, see `choose_precision`.

    Raises:
        ModelSourceError: no such model; the nearest name is given.
        ModelConfigError: the stored config is broken or names unknown classes.
        WeightError: the weights cannot be read or do not fit the model.
        CheckpointError: a checkpoint that contradicts its checksum.
        DeviceError: no such device on this machine.
    """
    source = locate_model(model)
    config = _config_of(source)
    built = cast(BaseModel, MODELS.build(config.model))
    require_intact(source.weights)
    load_weights(built, source.weights)
    if settle := getattr(built, "settle", None):
        settle(trained_without(source.weights))
    return Inferencer(built, config, source, device, precision)


def _config_of(source: ModelSource) -> ModelConfig:
    if source.config is not None:
        return ModelConfig.from_config(load_config(source.config).to_dict(), str(source.config))
    metadata = read_metadata(source.weights)
    if not {"model", "pipeline"} <= metadata.keys():
        raise ModelSourceError(
            f"{source.weights}: this file holds bare weights without the model's config. "
            f"{foreign_layout(tensor_names(source.weights)) or _SAVE_IT_WHOLE}."
        )
    return ModelConfig.checked(metadata, str(source.weights))


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The device asked for; without a wish a GPU if there is one, else the CPU.

    Raises:
        DeviceError: no such device on this machine.
    """
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(
            f"device {str(device)!r} cannot be used here: {str(error).splitlines()[0]}"
        ) from error
    return chosen


class Inferencer:
    """A model in evaluation mode with the transforms of its inputs.

    Args:
        model: built and filled with weights.
        config: what it was built from.
        source: the files it came from.
        device: where it computes; a GPU if there is one, else the CPU.
        precision: see `load_model`.

    Attributes:
        name: what prediction files call the model.
        weights: the file they came from.
        checkpoint: ``sha256:…`` of it.
        device: where it computes.
        precision: ``"float32"`` or ``"bfloat16"``.
    """

    def __init__(
        self,
        model: BaseModel,
        config: ModelConfig,
        source: ModelSource,
        device: str | torch.device | None = None,
        precision: str = "auto",
    ) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.model = model.to(self.device).eval()
        self.config = config
        self.name = source.name
        self.weights = source.weights
        self.checkpoint = f"sha256:{file_sha256(source.weights)}"
        self._transforms = Compose(config.pipeline)

    @property
    def pipeline(self) -> Sequence[Any]:
        """The transforms of its inputs."""
        return self.config.pipeline

    @property
    def reads_text(self) -> bool:
        """Whether it needs an expression; models of regions are asked by boxes."""
        return bool(getattr(self.model, "reads_text", True))

    @property
    def settings(self) -> dict[str, Any]:
        """What changes the answers, for the header of a prediction file."""
        return {"precision": self.precision, "pipeline": self.config.pipeline}

    def ground(self, image: Picture, text: str) -> Prediction:
        """Where the sentence points to in the picture.

        Args:
            image: a file, a PIL image, or ``(H, W, 3)`` uint8 RGB. Files are turned upright (EXIF).
            text: the expression.

        Returns:
            The prediction, its boxes in pixels of the (upright) picture.

        Raises:
            ImageError: the file is missing or cannot be read.
            QuestionError: the sentence is empty, the pixels have another shape or type, or the model reads no
                sentences.
        """
        return self.predict_batch([self.prepare(image, text)[1]])[0]

    def prepare(self, image: Picture, text: str) -> tuple[np.ndarray, ReferringSample]:
        """The (upright) picture ``(H, W, 3)`` uint8, and the question after the model's transforms.

        Raises:
            ImageError, QuestionError: as `ground`.
        """
        if not self.reads_text:
            raise QuestionError(
                f"the model {self.name!r} ({type(self.model).__name__}) describes regions and does not "
                "ground sentences; ask it with 'refkit describe'"
            )
        check_expression(text)
        pixels = read_picture(image)
        frame = Frame.identity(pixels.shape[1], pixels.shape[0])
        sample = ReferringSample(id="ground", text=text, frame=frame, image=pixels)
        return pixels, self._transforms(sample, np.random.default_rng(0))

    def predict(
        self,
        dataset: Dataset[ReferringSample],
        batch_size: int = 16,
        workers: int = 0,
        indices: Sequence[int] | None = None,
        progress: bool = False,
    ) -> Iterator[Prediction]:
        """Predictions for the samples of a data set, in order.

        Args:
            dataset: its pipeline should be this model's (`ModelConfig.pipeline`).
            batch_size: samples per forward pass.
            workers: processes that load samples; 0 loads in this one.
            indices: which samples; all by default.
            progress: whether to show a progress bar on stderr.
        """
        chosen = dataset if indices is None else Subset(dataset, indices)
        loader = DataLoader(
            chosen,
            batch_size,
            num_workers=workers,
            # Regions of a batch that share a view have it encoded once.
            collate_fn=partial(collate, share=not self.reads_text),
            pin_memory=self.device.type == "cuda",
        )
        total = len(cast(Any, chosen))
        with tqdm(total=total, desc="predict", unit="expression", disable=not progress) as bar:
            for batch in loader:
                predictions = self._predict_collated(batch)
                bar.update(len(predictions))
                yield from predictions
        for tokenizer in tokenizers_of(self.model):
            if summary := cut_summary(tokenizer.cut_texts, tokenizer.context_length):
                _LOG.warning(summary)

    def save(self, path: str | Path, half: bool = False) -> Path:
        """Writes the model as one self-contained file that `load_model` takes.

        Args:
            path: ends in ``.safetensors``.
            half: store weights as float16: half the size, slightly other numbers.
        """
        config = self_contained(self.config, self.model)
        return save_weights(self.model, path, {"model": config.model, "pipeline": config.pipeline}, half)

    def predict_batch(self, samples: Sequence[ReferringSample]) -> list[Prediction]:
        """Predictions for samples that went through this model's transforms."""
        return self._predict_collated(collate(samples))

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Inside, the model computes without gradients and in this inferencer's precision."""
        with torch.inference_mode(), computing_in(self.precision, self.device):
            yield

    def _predict_collated(self, batch: dict[str, Any]) -> list[Prediction]:
        with self.inference():
            return self.model.test_step(batch)
