"""From samples to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.registry import FUNCTIONS

from refkit.data.transforms.primitives import canvas_image, paste
from refkit.structures import ReferringSample


@FUNCTIONS.register_module(name="refkit_collate")
def collate(samples: Sequence[ReferringSample]) -> dict[str, Any]:
    """Stack the pixels of samples; the rest stays with them.

    Canvases of unequal size are padded at the right and bottom to the largest of the batch, frames and masks
    with them, so that boxes normalised by ``frame.canvas`` fit the batch.

    Args:
        samples: with pixels, at least one.

    Returns:
        ``{"inputs": {"images": (B, 3, H, W) uint8, "padding": (B, H, W) bool}, "data_samples": samples
        without pixels}``.
    """
    if not samples:
        raise ValueError("an empty batch cannot be collated")
    width = max(canvas_image(sample).shape[1] for sample in samples)
    height = max(canvas_image(sample).shape[0] for sample in samples)
    images = np.empty((len(samples), 3, height, width), np.uint8)
    padding = np.zeros((len(samples), height, width), bool)
    kept = []
    for row, sample in enumerate(samples):
        if canvas_image(sample).shape[:2] != (height, width):
            sample = paste(sample, 0, 0, (width, height))
        images[row] = canvas_image(sample).transpose(2, 0, 1)
        if sample.padding is not None:
            padding[row] = sample.padding
        kept.append(replace(sample, image=None, padding=None))
    inputs = {"images": torch.from_numpy(images), "padding": torch.from_numpy(padding)}
    return {"inputs": inputs, "data_samples": kept}
