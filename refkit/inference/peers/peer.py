"""Peers in the place of one of refkit's own models: they answer data sets and describe themselves.

Example::

    peer = load_peer("hf:grounding-dino", "downloads/grounding-dino-tiny", {"threshold": "0.25"})
    PredictionRun().execute(peer, RecordFile("refcoco.unc.val.jsonl"), "val.predictions.jsonl")
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from importlib.metadata import version
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from refkit.backbones.tokenizer import cut_summary
from refkit.data.dataset import ReferringDataset
from refkit.engine.precision import choose_precision, computing_in
from refkit.inference.inferencer import choose_device
from refkit.inference.peers.method import Method, MethodError, find_method
from refkit.inference.peers.pretrained import Pretrained, locate_pretrained
from refkit.inference.peers.sam import REFINERS, SamRefiner, SamSettings
from refkit.inference.prediction_run import Answerer
from refkit.structures import Prediction, ReferringSample

_LOG = logging.getLogger(__name__)


class Peer:
    """A method of another library that answers the samples of a data set.

    Args:
        method: what answers.
        weights: where it came from.
        precision: ``"float32"`` or ``"bfloat16"``.

    Attributes:
        name: what prediction files call it.
        checkpoint: ``sha256:…`` of its weights.
        pipeline: no transform; the method's own processor prepares the original picture.
        reads_text: it is asked by expressions.
    """

    pipeline: tuple[()] = ()
    reads_text = True

    def __init__(self, method: Method, weights: Pretrained, precision: str) -> None:
        self.method = method
        self.precision = precision
        self.name = f"hf:{method.name} ({weights.name})"
        self.checkpoint = weights.checkpoint
        self._weights = weights.name

    @property
    def settings(self) -> dict[str, Any]:
        """What changes the answers, for the header of a prediction file."""
        return {
            "method": f"hf:{self.method.name}",
            "weights": self._weights,
            "precision": self.precision,
            "transformers": version("transformers"),
            "torch": version("torch").partition("+")[0],
            **self.method.settings.model_dump(),
        }

    def predict(
        self,
        dataset: Dataset[ReferringSample],
        batch_size: int = 16,
        workers: int = 0,
        *,
        progress: bool = False,
    ) -> Iterator[Prediction]:
        """Predictions for the samples of a data set without transforms, in order.

        Args:
            dataset: its pictures are the original ones.
            batch_size: samples per call of the method.
            workers: processes that load pictures; 0 loads in this one.
            progress: whether to show a progress bar on stderr.
        """
        loader = DataLoader(dataset, batch_size, num_workers=workers, collate_fn=list)
        total = len(cast(Any, dataset))
        with tqdm(total=total, desc="predict", unit="expression", disable=not progress) as bar:
            for samples in loader:
                predictions = self.answer(samples)
                bar.update(len(predictions))
                yield from predictions
        if summary := cut_summary(self.method.cut_texts, self.method.context_length):
            _LOG.warning(summary)

    def answer(self, samples: Sequence[ReferringSample]) -> list[Prediction]:
        """Predictions for samples with their original pictures."""
        pictures = [cast(np.ndarray, sample.image) for sample in samples]
        with _inference(self.precision, self.method.device):
            answers = self.method.answer(pictures, [sample.text for sample in samples])
        return [replace(answer, id=sample.id) for answer, sample in zip(answers, samples, strict=True)]


class Refined:
    """Any answerer, its boxes turned into masks.

    Args:
        answerer: what gives the boxes.
        refiner: what gives the masks.
        weights: where the refiner came from.
        precision: ``"float32"`` or ``"bfloat16"``, of the refiner.
    """

    def __init__(self, answerer: Answerer, refiner: SamRefiner, weights: Pretrained, precision: str) -> None:
        self.answerer = answerer
        self.refiner = refiner
        self.precision = precision
        self.name = f"{answerer.name} + {refiner.name} ({weights.name})"
        self.checkpoint = answerer.checkpoint
        self.pipeline = answerer.pipeline
        self.reads_text = answerer.reads_text
        self._weights = weights

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the answerer, and under ``refine`` those of the refiner with its weights."""
        refine = {
            "method": self.refiner.name,
            "weights": self._weights.name,
            "checkpoint": self._weights.checkpoint,
            "precision": self.precision,
            "transformers": version("transformers"),
            **self.refiner.settings.model_dump(),
        }
        return {**self.answerer.settings, "refine": refine}

    def predict(
        self,
        dataset: ReferringDataset,
        batch_size: int = 16,
        workers: int = 0,
        *,
        progress: bool = False,
    ) -> Iterator[Prediction]:
        """Predictions with masks for the samples of a data set, in order; see `Peer.predict`."""
        answers = self.answerer.predict(dataset, batch_size, workers, progress=progress)
        for index, prediction in enumerate(answers):
            picture = cast(np.ndarray, dataset.load(index).image)
            with _inference(self.precision, self.refiner.device):
                refined = self.refiner.refine(picture, prediction)
            yield refined


def load_peer(
    method: str,
    weights: str,
    settings: Mapping[str, str] | None = None,
    device: str | torch.device | None = None,
    precision: str = "auto",
) -> Peer:
    """A method of another library, ready to answer.

    Args:
        method: such as ``"hf:grounding-dino"``.
        weights: a folder, or a name of the hub.
        settings: of the method, as texts.
        device: where it computes; a GPU if there is one, else the CPU.
        precision: ``"float32"``, ``"bfloat16"``, or ``"auto"``, which is float32 everywhere: some methods
            round their boxes to bfloat16 as well, which are steps of several pixels.

    Raises:
        MethodError: no such method or setting.
        PretrainedError: weights that are not at hand, or not those of the method.
        DeviceError: no such device on this machine.
    """
    method_class = find_method(method)
    chosen = method_class.settings_class.parse(method, settings or {})
    place = choose_device(device)
    located = locate_pretrained(weights)
    return Peer(method_class(located, chosen, place), located, _precision(precision, place))


def refined(
    answerer: Answerer,
    refiner: str,
    weights: str,
    settings: Mapping[str, str] | None = None,
    device: str | torch.device | None = None,
    precision: str = "auto",
) -> Refined:
    """An answerer whose boxes become masks.

    Args:
        answerer: what gives the boxes.
        refiner: ``"sam"``.
        weights: of the refiner, a folder or a name of the hub.
        settings: of the refiner, as texts.
        device: where it computes; a GPU if there is one, else the CPU.
        precision: as for `load_peer`.

    Raises:
        MethodError, PretrainedError, DeviceError: as for `load_peer`.
    """
    if refiner not in REFINERS:
        raise MethodError(f"--refine {refiner!r} is unknown; it may be {', '.join(REFINERS)}.")
    chosen = SamSettings.parse(f"--refine {refiner}", settings or {})
    place = choose_device(device)
    located = locate_pretrained(weights)
    model = REFINERS[refiner](located, chosen, place)
    return Refined(answerer, model, located, _precision(precision, place))


def _precision(precision: str, device: torch.device) -> str:
    return choose_precision("float32" if precision == "auto" else precision, device)


def _inference(precision: str, device: torch.device) -> AbstractContextManager:
    """Inside, models compute without gradients and in this precision."""
    stack = ExitStack()
    stack.enter_context(torch.inference_mode())
    stack.enter_context(computing_in(precision, device))
    return stack
