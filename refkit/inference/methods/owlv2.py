"""OWLv2: CLIP's patches as boxes, scored against the sentence (NeurIPS 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import Owlv2ForObjectDetection, Owlv2Processor

from refkit.inference.peers.detection import DetectionSettings, best_boxes
from refkit.inference.peers.method import Method, pil_images, register, sizes_of
from refkit.structures import Prediction


@register("owlv2")
class Owlv2(Method):
    """The expression as the only query; its score is the sigmoid of its similarity with a patch."""

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
        inputs = self.processor(
            images=pil_images(pictures),
            text=[[text] for text in texts],
            truncation=True,
            max_length=self.context_length,
            return_tensors="pt",
        ).to(self.device)
        found = self.processor.post_process_grounded_object_detection(
            self.model(**inputs), threshold=self.settings.threshold, target_sizes=sizes_of(pictures)
        )
        return [best_boxes(one["boxes"].float(), one["scores"].float(), self.settings) for one in found]
