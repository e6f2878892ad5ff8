"""From a collated batch to what a model reads: on the device, normalised, tokenised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from refkit.data.token_ids import trim_to_longest
from refkit.registry import MODELS
from refkit.structures import ReferringSample

Tokenizer = Callable[[list[str]], Tensor]
# ImageNet statistics, which HiVG and OneRef use in place of CLIP's and BEiT-3's own.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ExpressionError(ValueError):
    """A sample whose text cannot be turned into token ids."""


@MODELS.register_module()
class ReferringPreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device, normalises images in float32, zeroes the padding, adds token ids.

    ``inputs`` in: ``images (B, 3, H, W)`` uint8, optionally ``padding (B, H, W)`` bool; ``inputs`` out:
    ``images`` float32 equal to ToTensor → Normalize → pad with zeros, ``padding``, and ``token_ids (B, T)``
    int64 of the texts of ``data_samples``. In place of images or beside them, ``views (..., 3, S, S)`` of
    regions are normalised alike. Float images and given ``token_ids`` pass through as they are
    (tensor mode).

    Args:
        tokenizer: callable ``list[str] -> (B, context_length)`` int64 with an attribute ``pad_id``, a config
            of one, or None for models without text.
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
        trim_text: cut the ids to the longest text of the batch. Exact where padded words are masked; HiVG's
            bridge attends to them, so there it changes results slightly.
        non_blocking: copy to the device without waiting (with pinned memory).
    """

    def __init__(
        self,
        tokenizer: Tokenizer | Mapping[str, Any] | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        trim_text: bool = False,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"mean={mean}, std={std}: expected three numbers each, std above 0")
        self.tokenizer = MODELS.build(dict(tokenizer)) if isinstance(tokenizer, Mapping) else tokenizer
        self.trim_text = trim_text
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """The batch on the device of the model.

        Args:
            data: ``{"inputs": {...}, "data_samples": [...]}`` as `refkit.data.collate.collate` makes it.
            training: not used; part of MMEngine's interface.

        Returns:
            A new dictionary; the one given is left as it was.
        """
        samples = list(data.get("data_samples") or ())
        data = self.cast_data(data)
        inputs = dict(data["inputs"])
        for name, padding in (("images", inputs.get("padding")), ("views", None)):
            if name in inputs and not inputs[name].is_floating_point():
                inputs[name] = self.normalise(inputs[name], padding)
        if self.tokenizer is not None and "token_ids" not in inputs:
            inputs["token_ids"] = self.tokenise(samples).to(self.device, non_blocking=self._non_blocking)
        return {**data, "inputs": inputs}

    def normalise(self, images: Tensor, padding: Tensor | None) -> Tensor:
        """``(pixel / 255 - mean) / std`` of ``(..., 3, H, W)`` uint8 in float32, 0 under ``padding``."""
        if images.dtype != torch.uint8 or images.ndim < 4 or images.shape[-3] != 3:
            raise ValueError(
                f"expected images (B, 3, H, W) of uint8 or float, got {tuple(images.shape)} of {images.dtype}"
            )
        normalised = images.to(torch.float32).div_(255).sub_(self.mean).div_(self.std)
        return normalised if padding is None else normalised.masked_fill_(padding.bool()[:, None], 0.0)

    def tokenise(self, samples: Sequence[ReferringSample]) -> Tensor:
        """Ids ``(B, T)`` int64 of the texts of the samples, on the CPU.

        Raises:
            ExpressionError: there are no texts, or the tokenizer refuses one.
        """
        if self.tokenizer is None or not samples:
            raise ExpressionError("no texts to tokenise: the batch has neither token_ids nor data_samples")
        try:
            ids = self.tokenizer([sample.text for sample in samples])
        except ValueError as error:
            blank = [sample.id for sample in samples if not sample.text.strip()]
            where = f"; without an expression: record {', '.join(blank)}" if blank else ""
            raise ExpressionError(f"{error}{where}") from error
        return trim_to_longest(ids, getattr(self.tokenizer, "pad_id", 0)) if self.trim_text else ids
