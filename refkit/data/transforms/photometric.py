"""Colour augmentation with Pillow's enhancers, as in the published recipes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageEnhance

from refkit.data.arguments import require_probability
from refkit.data.transforms.primitives import canvas_image
from refkit.registry import TRANSFORMS
from refkit.structures import ReferringSample

Enhancer = Callable[[Image.Image], ImageEnhance._Enhance]


@TRANSFORMS.register_module()
class ColorJitter:
    """With probability ``p``: brightness, contrast, saturation in random order (the recipe of HiVG and
    OneRef).

    Each factor is uniform in [1 - strength, 1 + strength]; 0 leaves that property alone. Contrast is taken
    about the mean of the whole canvas: place this before padding (and after shrinking, where it costs least).

    Args:
        brightness: strength in [0, 1].
        contrast: strength in [0, 1].
        saturation: strength in [0, 1].
        p: probability of any change.
    """

    def __init__(
        self, brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.4, p: float = 0.8
    ) -> None:
        self.steps: list[tuple[Enhancer, float]] = [
            (ImageEnhance.Brightness, require_probability("brightness", brightness)),
            (ImageEnhance.Contrast, require_probability("contrast", contrast)),
            (ImageEnhance.Color, require_probability("saturation", saturation)),
        ]
        self.p = require_probability("p", p)

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample with other colours; geometry and text are untouched."""
        if rng.random() >= self.p:
            return sample
        image = Image.fromarray(canvas_image(sample))
        for step in rng.permutation(len(self.steps)):
            enhancer, strength = self.steps[step]
            image = enhancer(image).enhance(float(rng.uniform(1 - strength, 1 + strength)))
        return replace(sample, image=np.asarray(image))
