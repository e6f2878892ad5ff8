"""Florence-2: a task and a sentence in, text with places out (CVPR 2024)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field
from transformers import Florence2ForConditionalGeneration, Florence2Processor

from refkit import rle
from refkit.data.sources.geometry import unite
from refkit.inference.peers.generation import (
    GeneratingMethod,
    GenerationSettings,
    on_device,
    written_boxes,
)
from refkit.inference.peers.method import pil_images, register
from refkit.leaderboard.box_spaces import to_pixels
from refkit.leaderboard.readers.text_boxes import boxes_in_text
from refkit.structures import Prediction

_TASKS = {
    "grounding": "<CAPTION_TO_PHRASE_GROUNDING>",
    "detection": "<OPEN_VOCABULARY_DETECTION>",
    "segmentation": "<REFERRING_EXPRESSION_SEGMENTATION>",
}
_PLACES = re.compile(r"(?:<loc_\d{1,4}>)+")
_NUMBER = re.compile(r"\d+")
_FRAME = re.compile(r"<(?:s|/s|pad)>")
_BINS = 1000
_LEAST_OF_POLYGON = 6


class Florence2Settings(GenerationSettings):
    """How Florence-2 is asked.

    Attributes:
        task: ``grounding`` locates the phrases of the sentence, the first of which is taken to be the one
            that is meant; ``detection`` locates the sentence as a whole; ``segmentation`` draws a polygon
            around it.
        max_new_tokens: the longest answer.
        num_beams: of beam search (authors: 3).
    """

    task: Literal["grounding", "detection", "segmentation"] = "grounding"
    max_new_tokens: int = Field(1024, ge=1, le=4096)
    num_beams: int = Field(3, ge=1, le=64)


@register("florence-2")
class Florence2(GeneratingMethod):
    """A place is a bin of a thousandth of the picture; its middle is taken, without rounding to pixels."""

    model_types = ("florence2",)
    model_class = Florence2ForConditionalGeneration
    processor_class = Florence2Processor
    settings_class = Florence2Settings
    settings: Florence2Settings

    @property
    def context_length(self) -> int:
        """What the picture's tokens leave of the positions."""
        positions = self.model.config.text_config.max_position_embeddings
        return self.room_beside(positions, self.processor.num_image_tokens)

    def answer(self, pictures: Sequence[np.ndarray], texts: Sequence[str]) -> list[Prediction]:
        """See `Method.answer`."""
        task = _TASKS[self.settings.task]
        inputs = self.processor(
            images=pil_images(pictures),
            text=[task + self.wording(text) for text in texts],
            padding=True,
            return_tensors="pt",
        )
        written = self.generate(
            on_device(inputs, ("input_ids", "attention_mask", "pixel_values"), self.device)
        )
        answers = self.processor.batch_decode(written, skip_special_tokens=False)
        read = read_polygons if self.settings.task == "segmentation" else read_boxes
        return [
            read(_FRAME.sub("", answer), picture.shape[1], picture.shape[0])
            for answer, picture in zip(answers, pictures, strict=True)
        ]


def read_boxes(answer: str, width: int, height: int) -> Prediction:
    """Boxes of an answer such as ``a dog<loc_10><loc_20><loc_510><loc_620>``; several may follow a phrase.

    Of a run of places four at a time make a box; what is left over is no box.
    """
    found = [boxes_in_text(run) for run in _PLACES.findall(answer)]
    boxes = np.concatenate([np.zeros((0, 4)), *(part for part in found if part is not None)])
    return written_boxes(to_pixels(boxes, "xyxy-thousandths", (width, height)), answer)


def read_polygons(answer: str, width: int, height: int) -> Prediction:
    """The mask of an answer such as ``<loc_10><loc_20><loc_510>…<sep>…``, with its bounds as the box."""
    polygons: list[Any] = []
    for run in _PLACES.findall(answer):
        places = np.array([float(number) for number in _NUMBER.findall(run)])
        points = (places[: len(places) // 2 * 2] + 0.5).reshape(-1, 2) * (width, height) / _BINS
        if points.size >= _LEAST_OF_POLYGON:
            polygons.append(points.reshape(-1).tolist())
    mask = unite(polygons, width, height)
    box = None if mask is None else rle.bounds(mask)
    prediction = written_boxes(np.array([box]) if box else np.zeros((0, 4)), answer)
    prediction.mask = mask
    return prediction
