"""Whether the tensors given to a model fit it, said in words before some layer fails in its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class InputError(ValueError):
    """Tensors that a model cannot take: missing, or of another shape, type or size than it was built for."""


def check_inputs(inputs: Mapping[str, Tensor], patch: int, context_length: int) -> None:
    """Whether ``images``, ``token_ids`` and ``padding`` fit each other and the towers.

    Only shapes and types are looked at, so nothing waits for an accelerator.

    Args:
        inputs: see `refkit.models.ReferringModel.forward`.
        patch: side of a patch in pixels.
        context_length: the longest text in tokens.

    Raises:
        InputError: the first thing that does not fit.
    """
    for name in ("images", "token_ids"):
        if name not in inputs:
            raise InputError(f"inputs have no {name!r} (found: {', '.join(inputs) or 'nothing'})")
    images, token_ids, padding = inputs["images"], inputs["token_ids"], inputs.get("padding")
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise InputError(
            f"images: expected normalised floats (B, 3, H, W), got {images.dtype} {tuple(images.shape)}"
        )
    height, width = images.shape[-2:]
    if not (height and width) or height % patch or width % patch:
        raise InputError(
            f"images are {width} x {height} pixels; both sides must be multiples of the patch, {patch}"
        )
    if token_ids.ndim != 2 or token_ids.dtype not in (torch.int64, torch.int32):
        raise InputError(f"token_ids: expected int64 (B, T), got {token_ids.dtype} {tuple(token_ids.shape)}")
    if not 0 < token_ids.shape[1] <= context_length:
        raise InputError(
            f"token_ids have {token_ids.shape[1]} positions, the model takes 1 to {context_length}: cut the "
            "text as its tokenizer does"
        )
    index = inputs.get("image_index")
    if index is not None and index.shape != token_ids.shape[:1]:
        raise InputError(f"image_index: expected {len(token_ids)} rows, got {tuple(index.shape)}")
    if index is None and len(token_ids) != len(images):
        raise InputError(f"{len(images)} images and {len(token_ids)} texts; one text per image is expected")
    if padding is not None and padding.shape != (len(images), height, width):
        raise InputError(
            f"padding: expected {(len(images), height, width)} like the images, got {tuple(padding.shape)}"
        )
