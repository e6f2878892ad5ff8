"""What models share that write their answer as text with places in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from refkit.inference.peers.method import Method, Settings
from refkit.structures import Prediction

_RESERVE = 64
"""Tokens for the prompt around an expression, and for a last word that falls apart where it is cut."""


class GenerationSettings(Settings):
    """How the answer is written; nothing is drawn at random.

    Attributes:
        max_new_tokens: the longest answer.
        num_beams: of beam search; 1 takes the likeliest token each time.
    """

    max_new_tokens: int = Field(128, ge=1, le=4096)
    num_beams: int = Field(1, ge=1, le=64)


class GeneratingMethod(Method):
    """A model whose answer is text: boxes stand in the order in which they are written, without scores."""

    settings: GenerationSettings
    settings_class = GenerationSettings

    def wording(self, text: str) -> str:
        """An expression as it may stand in a prompt.

        Angle brackets spell the tokens by which these models mark tasks and places, so they become spaces:
        no expression can pose as one. What is longer than the model takes is cut.
        """
        plain = " ".join(text.replace("<", " ").replace(">", " ").split())
        room = self.context_length
        encoded = self.processor.tokenizer(plain, return_offsets_mapping=True, verbose=False)
        if len(encoded["input_ids"]) <= room:
            return plain
        self.cut_texts.add(text)
        return plain[: max(end for _, end in encoded["offset_mapping"][:room])]

    def room_beside(self, positions: int, picture: int) -> int:
        """Tokens left for an expression among ``positions``, beside a picture and the words of the prompt."""
        return max(positions - picture - _RESERVE, 1)

    def generate(self, inputs: dict[str, Tensor]) -> Tensor:
        """``(B, L)`` token ids of the answers."""
        return self.model.generate(
            **inputs,
            max_new_tokens=self.settings.max_new_tokens,
            num_beams=self.settings.num_beams,
            do_sample=False,
        )


def written_boxes(boxes: np.ndarray, raw: str) -> Prediction:
    """The answer ``raw`` with the boxes ``(K, 4)`` that were found in it; none means that it says nothing."""
    return Prediction("", boxes=boxes, raw=raw, status="ok" if len(boxes) else "unparsable")


def on_device(inputs: dict[str, Tensor], names: Sequence[str], device: torch.device) -> dict[str, Tensor]:
    """The inputs of these names, where the model computes."""
    return {name: inputs[name].to(device) for name in names}
