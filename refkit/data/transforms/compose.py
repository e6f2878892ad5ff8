"""Transforms made of transforms: in sequence, at random, or depending on the sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from refkit.data.arguments import require_probability
from refkit.registry import TRANSFORMS
from refkit.structures import ReferringSample

# The five substrings of the released HiVG and OneRef code; "laptop" holds one of them.
PUBLISHED_PLACE_SUBSTRINGS = ("left", "right", "top", "bottom", "middle")
_PLACE_WORDS = re.compile(
    r"\b(?:(?:left|right|top|bottom)(?:most)?|lefty|righty|left(?:hand|est|side)|right(?:hand|est|side)|"
    r"middle|cent(?:er|re)|corner|upper(?:most)?|lower|edge|far|front|back|first|second|third|fourth|last|end)\b",
    re.IGNORECASE,
)


class Transform(Protocol):
    """What a pipeline is made of."""

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """A new sample; randomness comes from ``rng`` only."""
        ...


def build_transform(part: Transform | Mapping[str, Any]) -> Transform:
    """A transform from a config (``dict(type=Letterbox, size=224)``) or the callable itself."""
    if isinstance(part, Mapping):
        return TRANSFORMS.build(dict(part))
    if not callable(part):
        raise TypeError(f"a transform is a config with 'type' or a callable, got {part!r}")
    return part


@TRANSFORMS.register_module()
class Compose:
    """One transform after the other.

    Args:
        transforms: configs or callables; may be empty.
    """

    def __init__(self, transforms: Sequence[Transform | Mapping[str, Any]] = ()) -> None:
        self.transforms = [build_transform(part) for part in transforms]

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample after the last transform."""
        for transform in self.transforms:
            sample = transform(sample, rng)
        return sample


@TRANSFORMS.register_module()
class RandomApply:
    """All of the transforms with probability ``p``, none of them otherwise.

    Args:
        transforms: configs or callables.
        p: probability in [0, 1].
    """

    def __init__(self, transforms: Sequence[Transform | Mapping[str, Any]], p: float = 0.5) -> None:
        self.inner = Compose(transforms)
        self.p = require_probability("p", p)

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample, transformed or not."""
        return self.inner(sample, rng) if rng.random() < self.p else sample


@TRANSFORMS.register_module()
class UnlessPlaceWords:
    """The transforms, unless the sentence speaks of a place that they would change ("the top left one").

    Args:
        transforms: configs or callables.
        published: look for the five substrings of the released code ("laptop" counts) instead of whole words.
    """

    def __init__(self, transforms: Sequence[Transform | Mapping[str, Any]], published: bool = False) -> None:
        self.inner = Compose(transforms)
        self.published = published

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample, transformed or not."""
        return sample if self.names_place(sample.text) else self.inner(sample, rng)

    def names_place(self, text: str) -> bool:
        """Whether the sentence holds a word of place."""
        if self.published:
            lowered = text.lower()
            return any(word in lowered for word in PUBLISHED_PLACE_SUBSTRINGS)
        return _PLACE_WORDS.search(text) is not None
