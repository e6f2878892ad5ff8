"""CLIPSeg: a mask decoded from CLIP's patches under the sentence (CVPR 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

from refkit import rle
from refkit.inference.peers.method import Method, Settings, pil_images, register, sizes_of
from refkit.structures import Prediction


class CLIPSegSettings(Settings):
    """Where the mask begins.

    Attributes:
        mask_threshold: pixels whose probability is above it belong to the object.
    """

    mask_threshold: float = Field(0.5, ge=0.0, lt=1.0)


@register("clipseg")
class CLIPSeg(Method):
    """A mask per expression, its bounds as the box, the highest probability in it as the score.

    Probabilities are resized bilinearly to the picture and then cut.
    """

    model_types = ("clipseg",)
    model_class = CLIPSegForImageSegmentation
    processor_class = CLIPSegProcessor
    settings_class = CLIPSegSettings

    @property
    def context_length(self) -> int:
        """Words beyond are not read (CLIP: 77 tokens)."""
        return self.model.config.text_config.max_position_embeddings

    def answer(self, pictures: Sequence[np.ndarray], texts: Sequence[str]) -> list[Prediction]:
        """See `Method.answer`."""
        self.note_cut(texts)
        inputs = self.processor(
            images=pil_images(pictures),
            text=list(texts),
            padding=True,
            truncation=True,
            max_length=self.context_length,
            return_tensors="pt",
        ).to(self.device)
        maps = self.model(**inputs).logits.float().sigmoid()
        return [self._read(one, size) for one, size in zip(maps, sizes_of(pictures), strict=True)]

    def _read(self, probabilities: Tensor, size: tuple[int, int]) -> Prediction:
        """A map ``(h, w)`` as the answer for a picture of ``(height, width)``."""
        resized = torch.nn.functional.interpolate(
            probabilities[None, None], size=size, mode="bilinear", align_corners=False
        )[0, 0]
        mask = rle.encode((resized > self.settings.mask_threshold).cpu().numpy())
        box = rle.bounds(mask)
        if box is None:
            return Prediction("", boxes=np.zeros((0, 4)), mask=mask)
        return Prediction("", np.array([box]), np.array([float(resized.max())]), mask)
