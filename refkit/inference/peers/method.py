"""The interface of a method: pictures and texts in, predictions out."""

from __future__ import annotations

import difflib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from refkit.inference.methods import method_names
from refkit.inference.peers.pretrained import Pretrained
from refkit.structures import Prediction

PREFIX = "hf:"


class MethodError(ValueError):
    """An unknown method, or a setting that it does not take."""


class Settings(BaseModel):
    """What changes the answers of a method; a prediction file states all of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, owner: str, given: Mapping[str, str]) -> Self:
        """Settings from the texts of a command line.

        Args:
            owner: whose settings they are, for messages.
            given: text by name.

        Raises:
            MethodError: an unknown name (the nearest is offered) or an impossible value.
        """
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            name, reason = str(error.errors()[0]["loc"][0]), error.errors()[0]["msg"]
        if name in cls.model_fields:
            raise MethodError(f"{owner}: {name}={given[name]}: {reason[0].lower()}{reason[1:]}.")
        near = difflib.get_close_matches(name, cls.model_fields, n=1, cutoff=0.4)
        offer = f"; did you mean {near[0]!r}?" if near else "."
        known = ", ".join(cls.model_fields) or "none"
        raise MethodError(f"{owner} has no setting {name!r} (it has: {known}){offer}")


class Method(ABC):
    """A model of another library that answers expressions.

    A subclass lives in ``refkit/inference/methods/<name>.py``, names the classes it is made of, and is
    registered under its name. It is given float32 weights; a caller may compute in bfloat16 around `answer`.

    Args:
        weights: where the model and its processor come from.
        settings: of this run.
        device: where it computes.

    Attributes:
        name: what follows ``hf:``.
        model_types: what ``config.json`` may call the model.
        model_class: the class of the model.
        processor_class: the class of its processor.
        settings_class: what can be set.
        cut_texts: the different texts that were longer than the model takes.
    """

    name: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]]
    model_class: ClassVar[Any]
    processor_class: ClassVar[Any]
    settings_class: ClassVar[type[Settings]] = Settings

    def __init__(self, weights: Pretrained, settings: Any, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        model, self.processor = weights.load(self.model_class, self.processor_class, self.model_types)
        self.model = model.to(device).eval()
        self.cut_texts: set[str] = set()

    @property
    @abstractmethod
    def context_length(self) -> int:
        """The longest expression that the model takes, in tokens with start and end."""

    @abstractmethod
    def answer(self, pictures: Sequence[np.ndarray], texts: Sequence[str]) -> list[Prediction]:
        """One prediction per pair, in pixels of its picture.

        Args:
            pictures: ``(H, W, 3)`` uint8 RGB each, of any sizes.
            texts: one expression per picture.

        Returns:
            Predictions without an id: boxes best first with the model's own scores, masks as COCO RLE of
            the picture.
        """

    def note_cut(self, texts: Sequence[str]) -> None:
        """Remember the texts that `context_length` cuts."""
        lengths = map(len, self.processor.tokenizer(list(texts), verbose=False)["input_ids"])
        self.cut_texts.update(
            text for text, length in zip(texts, lengths, strict=True) if length > self.context_length
        )


def pil_images(pictures: Sequence[np.ndarray]) -> list[Image.Image]:
    """Pictures in the form whose channel order no processor has to guess."""
    return [Image.fromarray(picture) for picture in pictures]


def sizes_of(pictures: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """``(height, width)`` of every picture."""
    return [(picture.shape[0], picture.shape[1]) for picture in pictures]


def distinct(pictures: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[int]]:
    """The different pictures of a batch, and for every question the position of its picture among them.

    Questions about one picture follow each other in most sets, and a data set hands out one array for them.
    """
    images: list[np.ndarray] = []
    places: dict[int, int] = {}
    for picture in pictures:
        if id(picture) not in places:
            places[id(picture)] = len(images)
            images.append(picture)
    return images, [places[id(picture)] for picture in pictures]


def in_groups(keys: Sequence[Hashable], answer: Callable[[list[int]], list[Prediction]]) -> list[Prediction]:
    """The answers to a batch, asked in groups of equal keys, so that no neighbour changes an answer.

    Args:
        keys: one per question.
        answer: predictions for the questions of these positions.
    """
    groups: dict[Hashable, list[int]] = {}
    for position, key in enumerate(keys):
        groups.setdefault(key, []).append(position)
    answers: dict[int, Prediction] = {}
    for positions in groups.values():
        answers.update(zip(positions, answer(positions), strict=True))
    return [answers[position] for position in range(len(keys))]


METHODS: dict[str, type[Method]] = {}
_Class = TypeVar("_Class", bound=type[Method])


def register(name: str) -> Callable[[_Class], _Class]:
    """Class decorator: the method called ``hf:name``, in the module of that name (``-`` becomes ``_``)."""

    def add(cls: _Class) -> _Class:
        cls.name = name
        METHODS[name] = cls
        return cls

    return add


def find_method(name: str) -> type[Method]:
    """The class behind ``hf:grounding-dino``.

    Raises:
        MethodError: no such method; the nearest name is offered.
    """
    short = name.removeprefix(PREFIX)
    known = method_names()
    if not name.startswith(PREFIX) or short not in known:
        near = difflib.get_close_matches(short, known, n=1, cutoff=0.4)
        offer = f"did you mean {PREFIX + near[0]!r}? " if near else ""
        listed = ", ".join(PREFIX + method for method in known)
        raise MethodError(f"--method {name!r} is unknown; {offer}It may be {listed}.")
    importlib.import_module(f"refkit.inference.methods.{short.replace('-', '_')}")
    return METHODS[short]
