"""OWLv2: CLIP's patches as boxes, scored against the sentence (NeurIPS 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torchvision.ops import box_convert
from transformers import Owlv2ForObjectDetection, Owlv2Processor

from refkit.inference.peers.detection import DetectionSettings, best_boxes, to_pixels
from refkit.inference.peers.method import Method, distinct, pil_images, register
from refkit.structures import Prediction


@register("owlv2")
class Owlv2(Method):
    """Every patch is a box; the sigmoid of its similarity with the expression is the score.

    The boxes of a picture do not depend on the words, so its expressions share one pass. They are fractions
    of a square: the picture stands in the upper left corner of one as large as its longer side.
    """

    model_types = ("owlv2",)
    model_class = Owlv2ForObjectDetection
    processor_class = Owlv2Processor
    settings_class = DetectionSettings

    @property
    def context_length(self) -> int:
        """Words beyond are not read (released models: 16 tokens)."""
        return self.model.config.text_config.max_position_embeddings

    def answer(self, pictures: Sequence[np.ndarray], texts: Sequence[str]) -> list[Prediction]:
        """See `Method.answer`."""
        self.note_cut(texts)
        images, rows = distinct(pictures)
        asked: list[list[str]] = [[] for _ in images]
        for row, text in zip(rows, texts, strict=True):
            asked[row].append(text)
        inputs = self.processor(
            images=pil_images(images),
            text=asked,
            truncation=True,
            max_length=self.context_length,
            return_tensors="pt",
        ).to(self.device)
        outputs = self.model(**inputs)
        squares = [(max(image.shape[:2]),) * 2 for image in images]
        boxes = to_pixels(box_convert(outputs.pred_boxes.float(), "cxcywh", "xyxy"), squares)
        scores = [iter(one.T) for one in outputs.logits.float().sigmoid()]
        return [best_boxes(boxes[row], next(scores[row]), self.settings) for row in rows]
