"""SAM 3: every instance of a concept that is named in words, with box, score and mask (2025)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import Sam3Model, Sam3Processor
from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

from refkit import rle
from refkit.inference.peers.detection import DetectionSettings, best_rows, to_pixels
from refkit.inference.peers.method import Method, distinct, pil_images, register, sizes_of
from refkit.structures import Prediction


class Sam3Settings(DetectionSettings):
    """Which instances make the answer.

    Attributes:
        mask_threshold: pixels whose probability is above it belong to an instance.
        mask: of the ``"best"`` instance, or of ``"all"`` that are kept.
    """

    mask_threshold: float = 0.5
    mask: Literal["best", "all"] = "best"


@register("sam3")
class Sam3(Method):
    """The expression as the concept. A score is that of the instance times that of the concept's presence.

    The expressions of a picture share its pass through the vision tower, the largest part of the model.
    """

    model_types = ("sam3", "sam3_video")
    model_class = Sam3Model
    processor_class = Sam3Processor
    settings_class = Sam3Settings

    @property
    def context_length(self) -> int:
        """Words beyond are not read (released model: 32 tokens)."""
        return self.model.config.text_config.max_position_embeddings

    def answer(self, pictures: Sequence[np.ndarray], texts: Sequence[str]) -> list[Prediction]:
        """See `Method.answer`."""
        self.note_cut(texts)
        # Not through the processor, which would not cut what is too long for the model.
        words = self.processor.tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=self.context_length,
            return_tensors="pt",
        )
        outputs = self.model(
            vision_embeds=self._seen(pictures),
            input_ids=words["input_ids"].to(self.device),
            attention_mask=words["attention_mask"].to(self.device),
        )
        return self._read(outputs, sizes_of(pictures))

    def _seen(self, pictures: Sequence[np.ndarray]) -> Sam3VisionEncoderOutput:
        """The features of every picture, computed once for equal ones."""
        images, rows = distinct(pictures)
        pixels = self.processor(images=pil_images(images), return_tensors="pt")["pixel_values"]
        features = self.model.get_vision_features(pixels.to(self.device))
        return Sam3VisionEncoderOutput(
            fpn_hidden_states=tuple(level[rows] for level in features.fpn_hidden_states),
            fpn_position_encoding=tuple(level[rows] for level in features.fpn_position_encoding),
        )

    def _read(self, outputs: Any, sizes: list[tuple[int, int]]) -> list[Prediction]:
        """The answers from ``pred_boxes (B, Q, 4)``, ``pred_logits (B, Q)``, ``pred_masks (B, Q, h, w)``."""
        scores = outputs.pred_logits.float().sigmoid()
        if outputs.presence_logits is not None:
            scores = scores * outputs.presence_logits.float().sigmoid()
        boxes = to_pixels(outputs.pred_boxes, sizes)
        answers = []
        for index, size in enumerate(sizes):
            rows = best_rows(scores[index], self.settings)
            answers.append(
                Prediction(
                    "",
                    boxes=boxes[index, rows].cpu().numpy(),
                    scores=scores[index, rows].double().cpu().numpy(),
                    mask=self._mask(outputs.pred_masks[index, rows], size),
                )
            )
        return answers

    def _mask(self, logits: Tensor, size: tuple[int, int]) -> dict[str, Any]:
        """One mask of the picture from those of the kept instances ``(K, h, w)``, best first."""
        if not len(logits):
            return rle.encode(np.zeros(size, bool))
        chosen = logits if self.settings.mask == "all" else logits[:1]
        probabilities = interpolate(
            chosen[None].float().sigmoid(), size=size, mode="bilinear", align_corners=False
        )[0]
        masks = (probabilities > self.settings.mask_threshold).cpu().numpy()
        return rle.encode(masks.any(axis=0))
