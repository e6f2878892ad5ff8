"""Contrastive pre-training of small towers: pictures with their sentences, regions with their captions.

What a published CLIP learned from millions of pairs, a small twin learns here from drawn scenes: which words
go with which look. The region term follows RegionCLIP (Zhong et al., CVPR 2022): a region is pooled from
patch tokens.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refkit.data.token_ids import trim_to_longest
from refkit.losses.contrastive import contrast_logits, symmetric_contrast
from refkit.models.base import ReferringModel
from refkit.models.headed import NoAnswerError
from refkit.registry import MODELS
from refkit.structures import Prediction, ReferringSample

_MAX_SCALE = 100.0


class ContrastPretrain(ReferringModel):
    """Trains two towers with image-text and region-text contrast; which towers, a subclass says.

    Each sample carries ``boxes (K, 4)`` and ``meta["captions"]``, one text per box. Equal texts in a batch
    are positives of each other's pictures and regions.

    Args:
        backbone: config of the towers; weights saved from here are what its ``weights=`` reads.
        tokenizer: for the captions; the same as the preprocessor's.
        image_weight: coefficient of the image-text loss.
        region_weight: coefficient of the region-text loss.
        freeze: see `ReferringModel`.
        data_preprocessor: see `ReferringModel`.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        tokenizer: Any,
        image_weight: float = 1.0,
        region_weight: float = 1.0,
        freeze: Sequence[str] = (),
        data_preprocessor: Any = None,
    ) -> None:
        super().__init__(data_preprocessor, freeze)
        self.backbone = MODELS.build(backbone)
        self.tokenizer = MODELS.build(tokenizer) if isinstance(tokenizer, dict) else tokenizer
        self.image_weight = image_weight
        self.region_weight = region_weight
        self.apply_freeze()

    def loss(self, inputs: dict[str, Tensor], data_samples: Sequence[ReferringSample]) -> dict[str, Tensor]:
        """Both losses, ``loss_image_text`` and ``loss_region_text``, and a figure to watch.

        ``region_accuracy`` is the share of regions whose nearest caption in the batch is right.
        """
        scale = self.backbone.scale.clamp(max=_MAX_SCALE)
        words = [sample.text for sample in data_samples]
        image, patches, grid = self.see(inputs)
        pairs = contrast_logits(image, self.read(inputs["token_ids"]), scale)
        same = _equal(words, words, pairs.device)
        regions = _regions(patches, grid, data_samples)
        captions = [caption for sample in data_samples for caption in _captions(sample)]
        logits, positives = self._match(regions, captions, scale)
        return {
            "loss_image_text": self.image_weight * symmetric_contrast(pairs, same),
            "loss_region_text": self.region_weight * symmetric_contrast(logits, positives),
            "region_accuracy": _accuracy(logits.detach(), positives),
        }

    def predict(self, inputs: dict[str, Tensor], data_samples: Sequence[ReferringSample]) -> list[Prediction]:
        """Not what this model is for: it has no head.

        Raises:
            NoAnswerError: always.
        """
        raise NoAnswerError(
            f"{type(self).__name__} has no head to predict with; train a model with its weights as the "
            "backbone's"
        )

    def tensors(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """``image_embed (B, D)``, ``text_embed (B, D)`` and ``logits_per_text (B, B)``."""
        image, sentence = self.see(inputs)[0], self.read(inputs["token_ids"])
        return {
            "image_embed": image,
            "text_embed": sentence,
            "logits_per_text": contrast_logits(sentence, image, self.backbone.scale),
        }

    @abstractmethod
    def see(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Pictures ``(B, D)``, their patches ``(B, N, D)`` in the shared space, and the grid of patches."""

    @abstractmethod
    def read(self, token_ids: Tensor) -> Tensor:
        """Sentences ``(M, D)`` of ids ``(M, T)`` in the shared space."""

    def _match(self, regions: Tensor, captions: list[str], scale: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and positives ``(R, M)`` of regions and the ``M`` different captions among theirs."""
        different = sorted(set(captions))
        if not different:
            return regions.new_zeros(0, 0), regions.new_zeros(0, 0, dtype=torch.bool)
        ids = trim_to_longest(self.tokenizer(different)).to(regions.device)
        logits = contrast_logits(regions, self.read(ids), scale)
        return logits, _equal(captions, different, regions.device)


@MODELS.register_module()
class CLIPPretrain(ContrastPretrain):
    """A `CLIPBackbone`; see `ContrastPretrain`."""

    def __init__(self, backbone: dict[str, Any], **settings: Any) -> None:
        super().__init__({**backbone, "pooled": True}, **settings)

    def see(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """The pooled class token and the projected patches of the last block."""
        features = self.backbone(inputs)
        return features.image, self.backbone.project_visual(features.visual), features.grid

    def read(self, token_ids: Tensor) -> Tensor:
        """The projected end-of-text token."""
        _, words, end = self.backbone.encode_text(token_ids)
        return words[torch.arange(len(words), device=words.device), end]


@MODELS.register_module()
class BEiT3Pretrain(ContrastPretrain):
    """A `BEiT3Backbone`, whose branches see one modality each, as in BEiT-3's tuning for retrieval."""

    def __init__(self, backbone: dict[str, Any], **settings: Any) -> None:
        super().__init__(backbone, **settings)
        self.backbone.train_for(("image", "sentence", "contrast_scale"))
        self.apply_freeze()

    def see(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """The projected class token and patches of the vision branch alone."""
        tokens = self.backbone.see(inputs["images"])
        height, width = (side // self.backbone.size.patch_size for side in inputs["images"].shape[-2:])
        return tokens[:, 0], tokens[:, 1:], (height, width)

    def read(self, token_ids: Tensor) -> Tensor:
        """The projected first token of the language branch alone."""
        return self.backbone.read(token_ids, token_ids != self.backbone.pad_id)[:, 0]


def _regions(patches: Tensor, grid: tuple[int, int], samples: Sequence[ReferringSample]) -> Tensor:
    """Embeddings ``(R, D)`` of all boxes of the batch: patches ``(B, N, D)`` averaged by covered area."""
    most = max(len(sample.boxes) for sample in samples)
    boxes = torch.zeros(len(samples), most, 4)
    real = torch.zeros(len(samples), most, dtype=torch.bool)
    for row, sample in enumerate(samples):
        count = len(sample.boxes)
        unit = np.asarray(grid[::-1] * 2) / np.asarray(sample.frame.canvas * 2)
        boxes[row, :count] = torch.from_numpy(np.asarray(sample.boxes * unit, np.float32))
        real[row, :count] = True
    weights = patch_coverage(boxes.to(patches.device), grid)
    return (weights.to(patches.dtype) @ patches)[real.to(patches.device)]


def patch_coverage(boxes: Tensor, grid: tuple[int, int]) -> Tensor:
    """Weight of each patch in a box, by covered area and with sum 1.

    Args:
        boxes: ``(..., 4)`` ``xyxy`` in units of patches.
        grid: ``(rows, columns)``.

    Returns:
        ``(..., rows * columns)``.
    """
    rows, columns = (torch.arange(side, device=boxes.device) for side in grid)
    across = _overlap(boxes[..., 0:1], boxes[..., 2:3], columns)
    down = _overlap(boxes[..., 1:2], boxes[..., 3:4], rows)
    area = (down[..., :, None] * across[..., None, :]).flatten(-2)
    return area / area.sum(dim=-1, keepdim=True).clamp(min=1e-6)


def _overlap(low: Tensor, high: Tensor, cells: Tensor) -> Tensor:
    return (high.minimum(cells + 1.0) - low.maximum(cells.to(low.dtype))).clamp(min=0)


def _captions(sample: ReferringSample) -> list[str]:
    captions = list(sample.meta.get("captions", ()))
    if len(captions) != len(sample.boxes):
        raise ValueError(
            f"sample {sample.id!r} has {len(sample.boxes)} boxes and {len(captions)} captions in "
            "meta['captions']; pre-training needs one caption per box"
        )
    return captions


def _equal(rows: Sequence[str], columns: Sequence[str], device: torch.device) -> Tensor:
    equal = np.asarray(rows, object)[:, None] == np.asarray(columns, object)[None, :]
    return torch.from_numpy(equal.astype(bool)).to(device)


def _accuracy(logits: Tensor, positives: Tensor) -> Tensor:
    if not logits.numel():
        return logits.new_zeros(())
    return positives.gather(1, logits.argmax(dim=1, keepdim=True)).float().mean()
