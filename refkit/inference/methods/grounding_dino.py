"""Grounding DINO: a DETR whose queries are scored against the words of the expression (ECCV 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torchvision.ops import box_convert
from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

from refkit.inference.peers.detection import DetectionSettings, best_boxes, to_pixels
from refkit.inference.peers.method import Method, in_groups, pil_images, register, sizes_of
from refkit.structures import Prediction


@register("grounding-dino")
class GroundingDino(Method):
    """The expression as one caption; a query's score is that of its best word.

    The caption is lower case and ends with a full stop, as in the authors' code. Score and box are those of
    ``post_process_grounded_object_detection``, without its texts. Only pictures of one size are computed
    together: beside a larger one the padding would reach the convolutions and move the boxes.
    """

    model_types = ("grounding-dino",)
    model_class = GroundingDinoForObjectDetection
    processor_class = GroundingDinoProcessor
    settings_class = DetectionSettings

    @property
    def context_length(self) -> int:
        """Words beyond are not read (authors: 256)."""
        return self.model.config.max_text_len

    def answer(self, pictures: Sequence[np.ndarray], texts: Sequence[str]) -> list[Prediction]:
        """See `Method.answer`."""
        captions = [_caption(text) for text in texts]
        self.note_cut(captions)
        return in_groups(
            sizes_of(pictures),
            lambda rows: self._answer_equal([pictures[row] for row in rows], [captions[row] for row in rows]),
        )

    def _answer_equal(self, pictures: Sequence[np.ndarray], captions: list[str]) -> list[Prediction]:
        """The answers for pictures of one size."""
        inputs = self.processor(
            images=pil_images(pictures),
            text=captions,
            padding=True,
            truncation=True,
            max_length=self.context_length,
            return_tensors="pt",
        ).to(self.device)
        outputs = self.model(**inputs)
        scores = outputs.logits.float().sigmoid().amax(dim=-1)
        boxes = to_pixels(box_convert(outputs.pred_boxes.float(), "cxcywh", "xyxy"), sizes_of(pictures))
        return [best_boxes(*pair, self.settings) for pair in zip(boxes, scores, strict=True)]


def _caption(text: str) -> str:
    lowered = text.strip().lower()
    return lowered if lowered.endswith(".") else f"{lowered}."
