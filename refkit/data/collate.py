"""From samples to a batch."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.registry import FUNCTIONS

from refkit.data.transforms.primitives import canvas_image, paste
from refkit.data.views import distinct_views
from refkit.structures import ReferringSample


@FUNCTIONS.register_module(name="refkit_collate")
def collate(samples: Sequence[ReferringSample], share: bool = False) -> dict[str, Any]:
    """Stack the pixels and the extras of samples; the rest stays with them.

    Canvases of unequal size are padded at the right and bottom to the largest of the batch, frames and masks
    with them, so that boxes normalised by ``frame.canvas`` fit the batch.

    Samples of regions (see `RegionViews`) have no picture, all of a batch or none.

    Args:
        samples: at least one.
        share: stack a canvas that several samples have once, and say which one each sample has: sentences
            about one picture then cost one pass through the vision tower, where no words enter it. The same
            for views of regions.

    Returns:
        ``{"inputs": {"images": (P, 3, H, W) uint8, "padding": (P, H, W) bool}, "data_samples": samples
        without pixels}`` and their ``extras`` among the inputs, stacked; ``P`` is the number of
        samples, or with ``share`` that of different canvases, and then ``inputs["image_index"] (B,)`` int64.
        With ``share``, ``inputs["views"]`` is ``(U, 3, S, S)``, the different views, and
        ``inputs["view_index"] (B, V)`` int64.
    """
    if not samples:
        raise ValueError("an empty batch cannot be collated")
    inputs: dict[str, torch.Tensor] = {}
    if not samples[0].extras or any(sample.image is not None for sample in samples):
        samples, inputs = _canvases(samples, share)
    inputs |= _stacked_extras(samples, inputs)
    if share and "views" in inputs:
        views, index = distinct_views(inputs["views"].flatten(0, 1).numpy())
        shape = inputs["views"].shape[:2]
        inputs |= {"views": torch.from_numpy(views), "view_index": torch.from_numpy(index).view(shape)}
    kept = [replace(sample, image=None, padding=None, extras={}) for sample in samples]
    return {"inputs": inputs, "data_samples": kept}


def _canvases(
    samples: Sequence[ReferringSample], share: bool
) -> tuple[list[ReferringSample], dict[str, torch.Tensor]]:
    """Samples on canvases of one size, and these canvases as inputs."""
    width = max(canvas_image(sample).shape[1] for sample in samples)
    height = max(canvas_image(sample).shape[0] for sample in samples)
    fitted = [_fitted(sample, width, height) for sample in samples]
    rows = _rows(fitted) if share else list(range(len(fitted)))
    images = np.empty((max(rows) + 1, 3, height, width), np.uint8)
    padding = np.zeros((max(rows) + 1, height, width), bool)
    for row, sample in zip(rows, fitted, strict=True):
        images[row] = canvas_image(sample).transpose(2, 0, 1)
        if sample.padding is not None:
            padding[row] = sample.padding
    inputs = {"images": torch.from_numpy(images), "padding": torch.from_numpy(padding)}
    if share:
        inputs["image_index"] = torch.tensor(rows)
    return fitted, inputs


def _stacked_extras(samples: Sequence[ReferringSample], taken: Container[str]) -> dict[str, torch.Tensor]:
    """``(B, ...)`` of every array in the samples' extras."""
    names = samples[0].extras.keys()
    if clash := [name for name in names if name in taken]:
        raise ValueError(f"extras[{clash[0]!r}] would replace an input of every model; give it another name")
    for sample in samples:
        if sample.extras.keys() != names:
            raise ValueError(
                f"samples of one batch have different extras: {samples[0].id} has {sorted(names)}, "
                f"{sample.id} has {sorted(sample.extras)}; give "
                "every data set of a mixture the same masking transforms"
            )
        for name, first in samples[0].extras.items():
            if sample.extras[name].shape != first.shape:
                raise ValueError(
                    f"extras[{name!r}]: {samples[0].id} has shape {first.shape}, {sample.id} "
                    f"{sample.extras[name].shape}; pad all canvases to one size before masking"
                )
    return {name: torch.from_numpy(np.stack([sample.extras[name] for sample in samples])) for name in names}


def _fitted(sample: ReferringSample, width: int, height: int) -> ReferringSample:
    if canvas_image(sample).shape[:2] == (height, width):
        return sample
    return paste(sample, 0, 0, (width, height))


def _rows(samples: Sequence[ReferringSample]) -> list[int]:
    """For each sample, the number of its canvas among the different ones, in order of appearance."""
    numbers: dict[tuple[bytes, bytes], int] = {}
    rows = []
    for sample in samples:
        padding = b"" if sample.padding is None else sample.padding.tobytes()
        rows.append(numbers.setdefault((canvas_image(sample).tobytes(), padding), len(numbers)))
    return rows
