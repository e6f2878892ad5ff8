"""Kosmos-2: a language model that writes places as numbers of patches (ICLR 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import Kosmos2ForConditionalGeneration, Kosmos2Processor

from refkit.inference.peers.generation import GeneratingMethod, on_device, written_boxes
from refkit.inference.peers.method import in_groups, pil_images, register
from refkit.leaderboard.box_spaces import to_pixels
from refkit.structures import Prediction

_INPUTS = ("pixel_values", "input_ids", "attention_mask", "image_embeds_position_mask")


@register("kosmos-2")
class Kosmos2(GeneratingMethod):
    """The expression as a phrase in the prompt; the model goes on with the object it stands for.

    The prompt is that of the paper (section 4.1.2). Only what the model adds to it is read. Only prompts of
    one length are continued together: transformers counts padding as places once it generates.
    """

    model_types = ("kosmos-2",)
    model_class = Kosmos2ForConditionalGeneration
    processor_class = Kosmos2Processor

    @property
    def context_length(self) -> int:
        """What the picture's tokens and the answer leave of the positions."""
        config = self.model.config
        beside = config.latent_query_num + self.settings.max_new_tokens
        return self.room_beside(config.text_config.max_position_embeddings, beside)

    def answer(self, pictures: Sequence[np.ndarray], texts: Sequence[str]) -> list[Prediction]:
        """See `Method.answer`."""
        prompts = [f"<grounding><phrase> {self.wording(text)}</phrase>" for text in texts]
        lengths = [len(ids) for ids in self.processor.tokenizer(prompts)["input_ids"]]
        return in_groups(
            lengths,
            lambda rows: self._answer_equal([pictures[row] for row in rows], [prompts[row] for row in rows]),
        )

    def _answer_equal(self, pictures: Sequence[np.ndarray], prompts: list[str]) -> list[Prediction]:
        """The answers to prompts of one length."""
        inputs = self.processor(
            images=pil_images(pictures),
            text=prompts,
            num_image_tokens=self.model.config.latent_query_num,
            return_tensors="pt",
        )
        written = self.generate(on_device(inputs, _INPUTS, self.device))
        answers = self.processor.batch_decode(
            written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return [
            self.read(answer, picture.shape[1], picture.shape[0])
            for answer, picture in zip(answers, pictures, strict=True)
        ]

    def read(self, answer: str, width: int, height: int) -> Prediction:
        """Boxes of an answer such as ``<object><patch_index_0044><patch_index_0863></object>``."""
        _, entities = self.processor.post_process_generation(answer)
        boxes = np.array([box for _, _, boxes in entities for box in boxes], np.float64).reshape(-1, 4)
        return written_boxes(to_pixels(boxes, "xyxy-unit", (width, height)), answer)
