"""Frozen teachers of the semantic target-relation score: how much each word says about the target.

OneRef, section 3.2 (Referring MLM). ``score_j = lambda_reg sigma(k <r, w_j>) + lambda_img sigma(k <i, w_j>)``
with unit vectors ``r`` of the region's crop, ``i`` of the whole picture, ``w_j`` of the word, and ``sigma``
the sigmoid. The authors computed such scores once with an image-text BEiT-3 and published neither the scores,
nor the weights lambda, nor how the crop was made. Here both lambdas are 0.5 unless told otherwise, crop and
picture are scaled to the teacher's square, and ``k`` is 1.

Notation: ``B`` batch, ``T`` text positions, ``D`` width of the teacher's shared space.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2.functional import resize

from refkit.backbones.beit3 import BEiT3Backbone
from refkit.backbones.clip import CLIPBackbone
from refkit.data.preprocessor import IMAGENET_MEAN, IMAGENET_STD
from refkit.registry import MODELS


class RelationTeacher(nn.Module):
    """What the teachers share: crops, normalisation, the score. They are never trained.

    Args:
        backbone: config of the teacher's towers, with their ``weights``.
        region_weight: lambda_reg.
        image_weight: lambda_img.
        scale: ``k``; cosines of an image-text model lie close together, and a larger ``k`` tells words apart.
        mean: per channel, of pixels in [0, 1], as the teacher was trained.
        std: per channel, likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: dict[str, Any],
        region_weight: float = 0.5,
        image_weight: float = 0.5,
        scale: float = 1.0,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        if min(region_weight, image_weight) < 0 or scale <= 0:
            raise ValueError(
                f"region_weight={region_weight}, image_weight={image_weight}, scale={scale}: expected "
                "weights of at least 0 and a positive scale"
            )
        self.backbone = MODELS.build(backbone)
        self.region_weight = region_weight
        self.image_weight = image_weight
        self.scale = scale
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)

    @abstractmethod
    def pictures(self, images: Tensor) -> Tensor:
        """Unit vectors ``(R, D)`` of normalised pictures ``(R, 3, S, S)``."""

    @abstractmethod
    def words(self, token_ids: Tensor, text_mask: Tensor) -> Tensor:
        """Unit vectors ``(B, T, D)`` of the words that the positions belong to."""

    @torch.no_grad()
    def forward(self, pixels: Tensor, boxes: Tensor, token_ids: Tensor, text_mask: Tensor) -> Tensor:
        """Scores ``(B, T)`` float32 of all words, 0 at padding.

        Args:
            pixels: canvases ``(B, 3, H, W)`` in [0, 1].
            boxes: ``(B, 4)`` xyxy, the target regions in pixels of the canvas.
            token_ids: ``(B, T)`` of the model that is taught, nothing hidden.
            text_mask: ``(B, T)`` bool, True = a real token.
        """
        with torch.autocast(pixels.device.type, enabled=False):
            views = torch.cat((self.crops(pixels, boxes), self._fitted(pixels)))
            regions, images = self.pictures((views - self.mean) / self.std).float().chunk(2)
            words = self.words(token_ids, text_mask).float()
            near_region = torch.einsum("bd,btd->bt", regions, words).mul(self.scale).sigmoid()
            near_image = torch.einsum("bd,btd->bt", images, words).mul(self.scale).sigmoid()
        return (self.region_weight * near_region + self.image_weight * near_image) * text_mask

    def crops(self, pixels: Tensor, boxes: Tensor) -> Tensor:
        """The regions, each scaled to the teacher's square: ``(B, 3, S, S)``. A crop has a pixel at least."""
        height, width = pixels.shape[-2:]
        views = []
        for canvas, (left, top, right, bottom) in zip(pixels, boxes.tolist(), strict=True):
            x, y = (min(max(int(low), 0), side - 1) for low, side in ((left, width), (top, height)))
            crop = canvas[:, y : max(-int(-bottom // 1), y + 1), x : max(-int(-right // 1), x + 1)]
            views.append(self._fitted(crop[None]))
        return torch.cat(views)

    def _fitted(self, pixels: Tensor) -> Tensor:
        side = self.backbone.size.image_size
        return resize(pixels, [side, side], antialias=True).clamp(0, 1)


@MODELS.register_module()
class BEiT3Teacher(RelationTeacher):
    """A BEiT-3 tuned for retrieval, whose branches see one modality each, as while it was tuned.

    Its ``backbone`` is a `BEiT3Backbone` with the tokenizer of the model that is taught; its weights must
    have ``vision_head`` and ``language_head`` (published files named ``…_itc_…`` do, or a trained OneRef).
    """

    backbone: BEiT3Backbone

    def pictures(self, images: Tensor) -> Tensor:
        """Projected class tokens."""
        return self.backbone.see(images)[:, 0]

    def words(self, token_ids: Tensor, text_mask: Tensor) -> Tensor:
        """Projected words in the context of their sentence."""
        return self.backbone.read(token_ids, text_mask)


@MODELS.register_module()
class CLIPTeacher(RelationTeacher):
    """A CLIP: every word is a text of its own, as its towers share a space for whole texts only.

    Args:
        backbone: `CLIPBackbone`.
        tokenizer: the teacher's.
        spelling: the tokenizer of the model that is taught; it tells which words ids stand for, and all ids
            of a word get the word's score.
        **settings: see `RelationTeacher`.
    """

    backbone: CLIPBackbone

    def __init__(self, backbone: dict[str, Any], tokenizer: Any, spelling: Any, **settings: Any) -> None:
        super().__init__({**backbone, "pooled": True}, **settings)
        self.tokenizer = MODELS.build(tokenizer) if isinstance(tokenizer, dict) else tokenizer
        self.spelling = MODELS.build(spelling) if isinstance(spelling, dict) else spelling

    def pictures(self, images: Tensor) -> Tensor:
        """Projected class tokens."""
        no_words = torch.zeros(len(images), 1, dtype=torch.int64, device=images.device)
        image = self.backbone({"images": images, "token_ids": no_words}).image
        return F.normalize(image, dim=-1)

    def words(self, token_ids: Tensor, text_mask: Tensor) -> Tensor:
        """Projected end-of-text tokens of the single words."""
        rows = [self._spelled(ids[real].tolist()) for ids, real in zip(token_ids, text_mask, strict=True)]
        different = sorted({word for row in rows for word in row})
        _, states, end = self.backbone.encode_text(self.tokenizer(different).to(token_ids.device))
        embedded = F.normalize(states[torch.arange(len(end), device=end.device), end], dim=-1)
        number = {word: index for index, word in enumerate(different)}
        vectors = embedded.new_zeros(*token_ids.shape, embedded.shape[-1])
        for vector, real, row in zip(vectors, text_mask, rows, strict=True):
            vector[real] = embedded[[number[word] for word in row]]
        return vectors

    def _spelled(self, ids: list[int]) -> list[str]:
        """For every id, the word that it is, or is a part of."""
        words = self.spelling.spell(ids)
        return [word for word, count in words for _ in range(count)]
