"""The transform that turns a question about a region, and what was said before it, into a prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from refkit.data.arguments import require_choice
from refkit.data.transforms.region_caption import MissingCaptionError
from refkit.registry import TRANSFORMS
from refkit.structures import ReferringSample

_REGION = re.compile(r"<region\d*>")


@dataclass(frozen=True, slots=True)
class Style:
    """How a language model is used to read a conversation.

    Attributes:
        question: format of a question, ``{}`` in the place of its text.
        answer: format of an answer that was given before.
        begin: what the model's own answer begins after.
        opening: stands before everything.
    """

    question: str
    answer: str
    begin: str
    opening: str = ""


STYLES: dict[str, Style] = {
    "plain": Style("Question: {} ", "Answer: {} ", "Answer:"),
    "vicuna": Style(
        "USER: {} ",
        "ASSISTANT: {}</s>",
        "ASSISTANT:",
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
        "helpful, detailed, and polite answers to the user's questions. ",
    ),
    "chatml": Style(
        "<|im_start|>user\n{}<|im_end|>\n",
        "<|im_start|>assistant\n{}<|im_end|>\n",
        "<|im_start|>assistant\n",
    ),
}
"""Of FlanT5 and its kin, Vicuna and LLaVA 1.5, and Qwen."""


@TRANSFORMS.register_module()
class Conversation:
    """``text`` is a question, ``meta["history"]`` what was said before: both become ``meta["prompt"]``, which
    leads the language model, and ``text`` the answer, the first of ``meta["references"]``.

    A region in the question (``<region1>``) becomes words: the model sees the region itself.

    Args:
        style: one of `STYLES`.
        region: the words for it.
        turns: exchanges of the history at most, the last ones.
        training: refuse samples without an answer; otherwise their ``text`` becomes empty.
    """

    def __init__(
        self,
        style: Literal["plain", "vicuna", "chatml"] = "plain",
        region: str = "this region",
        turns: int = 4,
        training: bool = True,
    ) -> None:
        self.style = STYLES[require_choice("style", style, tuple(STYLES))]
        if turns < 0:
            raise ValueError(f"turns={turns}: expected 0 or more")
        self.region, self.turns, self.training = region, turns, training

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample with prompt and answer.

        Raises:
            MissingCaptionError: in training, a sample without a question or an answer.
        """
        answers: Sequence[str] = sample.meta.get("references") or [""]
        answer = self._plain(answers[0])
        if self.training and not (answer and sample.text.strip()):
            raise MissingCaptionError(
                f"record {sample.id} has no {'answer' if sample.text.strip() else 'question'} to learn from"
            )
        prompt = self.prompt(sample.text, sample.meta.get("history", ()))
        return replace(sample, text=answer, meta={**sample.meta, "prompt": prompt})

    def prompt(self, question: str, history: Sequence[Sequence[str]] = ()) -> str:
        """What the language model reads.

        Args:
            question: to be answered.
            history: pairs of question and answer before it.
        """
        kept = list(history)[-self.turns :] if self.turns else []
        said = "".join(
            self.style.question.format(self._plain(asked)) + self.style.answer.format(self._plain(told))
            for asked, told in kept
        )
        asked = self.style.question.format(self._plain(question))
        return f"{self.style.opening}{said}{asked}{self.style.begin}"

    def _plain(self, text: str) -> str:
        return _REGION.sub(self.region, text).strip()
