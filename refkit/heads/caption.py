"""Regions to sentences: ``D_llm`` of DynRefer, a frozen language model that reads region tokens and words.

Section 3.3 of the paper; control words after ControlCap (Zhao et al., ECCV 2024). Notation: ``B`` regions,
``Q`` tokens of each, ``T`` text positions, ``W`` width of the language model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from refkit.data.arguments import require_choice
from refkit.data.control_words import control_prompt, join_words
from refkit.heads.language_model import LanguageModel
from refkit.heads.precision import Precision
from refkit.heads.recogniser import regions_of
from refkit.registry import MODELS
from refkit.structures import Features, Prediction, ReferringSample

CaptionTokenizer = Any
"""See `refkit.backbones.caption_tokenizer.CaptionTokenizer`, which a head may not import."""


class CaptionError(ValueError):
    """A region without the caption that training needs."""


def caption_of(sample: ReferringSample) -> str:
    """The sentence that a region is trained with, the sample's ``text``.

    Raises:
        CaptionError: there is none.
    """
    if not sample.text.strip():
        raise CaptionError(
            f"record {sample.id} has no caption to train with: put RegionCaption into the pipeline"
        )
    return sample.text


def matched_text_of(sample: ReferringSample) -> str:
    """The sentence that the contrast of regions and texts matches a region with.

    ``meta["contrast_text"]`` where a data set gives one, because its captions tell more than what an object
    is (where it stands, for instance); else the caption, as in DynRefer.
    """
    return sample.meta.get("contrast_text") or caption_of(sample)


def prompt_of(sample: ReferringSample, tags: Iterable[str] = ()) -> str:
    """What leads the language model when it is asked about a region.

    ``meta["prompt"]`` as it stands, an instruction or a question; without it, control words: tags that were
    predicted and then ``meta["control_words"]``. ``meta["control"]``, parsed from the true caption for
    training, is never read.
    """
    given: str | None = sample.meta.get("prompt")
    return given or control_prompt(tags, sample.meta.get("control_words", ()))


@MODELS.register_module()
class CaptionHead(nn.Module):
    """Writes a sentence about a region, led by control words.

    The language model reads ``[Q projected region tokens ; control tokens + memory]``. Training compares what
    it writes with the caption of the sample.

    Args:
        width: channels of the regions.
        language_model: config of a `LanguageModel`.
        tokenizer: config or object, see `refkit.backbones.caption_tokenizer`.
        beams: of the search; 2 in the released configurations of DynRefer, 5 in the paper.
        longest: tokens written at most.
        length_penalty, repetition_penalty: of transformers' search, as released.
        text_limit: tokens of captions and of prompts at most, ends included; longer ones are cut and counted.
        keep: what stays of a prompt that is longer: its ``start``, as released for control words, or its
            ``end``, where a question stands.
        memory: add a learned vector to every control token (the released Vicuna variant has it but never
            adds it).
        batch: regions that are written about at once.
        precision: ``bfloat16`` runs the language model under autocast, as released.
        weight: coefficient of the loss.
    """

    needs = ("regions",)
    tasks = ("caption",)
    answers = True

    def __init__(
        self,
        *,
        width: int,
        language_model: Mapping[str, Any],
        tokenizer: Mapping[str, Any] | CaptionTokenizer,
        beams: int = 2,
        longest: int = 20,
        length_penalty: float = 0.0,
        repetition_penalty: float = 1.5,
        text_limit: int = 32,
        keep: Literal["start", "end"] = "start",
        memory: bool = True,
        batch: int = 64,
        precision: str = "float32",
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        if min(beams, longest, batch) < 1 or text_limit < 2:
            raise ValueError(
                f"beams={beams}, longest={longest}, batch={batch}, text_limit={text_limit}: expected "
                "positive numbers, and 2 or more for text_limit"
            )
        self.language_model: LanguageModel = MODELS.build(dict(language_model))
        self.tokenizer = MODELS.build(dict(tokenizer)) if isinstance(tokenizer, Mapping) else tokenizer
        self.projection = nn.Linear(width, self.language_model.width)
        self.memory = nn.Parameter(torch.zeros(self.language_model.width)) if memory else None
        self.text_limit, self.batch, self.weight = text_limit, batch, weight
        self.keep = require_choice("keep", keep, ("start", "end"))
        self.precision = Precision(precision)
        self.search: dict[str, Any] = {
            "num_beams": beams,
            "max_new_tokens": longest,
            "min_length": 1,
            "length_penalty": length_penalty,
            "repetition_penalty": repetition_penalty,
        }

    def tensors(self, features: Features) -> dict[str, Tensor]:
        """``visual_prefix (B, Q, W)``, the region as the language model sees it."""
        return {"visual_prefix": self.projection(regions_of(features))}

    def prefix(self, regions: Tensor, control_ids: Tensor, control_mask: Tensor) -> tuple[Tensor, Tensor]:
        """What the language model reads: vectors ``(B, Q + T, W)`` and mask ``(B, Q + T)`` int64.

        Args:
            regions: ``(B, Q, C)``.
            control_ids: ``(B, T)`` int64.
            control_mask: ``(B, T)`` int64, 1 = a token.
        """
        visual = self.projection(regions)
        words = self.language_model.embed(control_ids)
        words = words if self.memory is None else words + self.memory
        seen = control_mask.new_ones(visual.shape[:2])
        return torch.cat((visual, words.to(visual.dtype)), dim=1), torch.cat((seen, control_mask), dim=1)

    def loss(self, features: Features, data_samples: Sequence[ReferringSample]) -> dict[str, Tensor]:
        """``loss_caption`` per token, coefficient included.

        ``text`` of a sample is its caption or answer. It is led by ``meta["prompt"]``, an instruction or a
        question, if there is one, or else by the prompt of control words ``meta["control"]``.

        Raises:
            CaptionError: a sample without a caption.
        """
        regions = regions_of(features)
        controls = [
            sample.meta.get("prompt") or sample.meta.get("control", join_words(())) for sample in data_samples
        ]
        captions = [caption_of(sample) for sample in data_samples]
        caption = self._ids(captions, regions, begin=False, end=True)
        with self.precision.autocast(regions):
            read = self.prefix(regions, *self._controls(controls, regions))
            return {"loss_caption": self.weight * self.language_model.loss(*read, *caption)}

    @torch.no_grad()
    def predict(
        self,
        features: Features,
        data_samples: Sequence[ReferringSample],
        tasks: Sequence[str] | None = None,
        controls: Sequence[str] | None = None,
    ) -> list[Prediction]:
        """One sentence per region, with its box and ``exp`` of the search's score.

        A region about which nothing is written gets the status ``failed``.

        Args:
            features: with regions.
            data_samples: ``B`` samples.
            tasks: nothing is written unless ``caption`` is among them; None means all.
            controls: the prompt of every region; by default `prompt_of` each sample.
        """
        if tasks is not None and "caption" not in tasks:
            return [Prediction(sample.id) for sample in data_samples]
        texts = controls or [prompt_of(sample) for sample in data_samples]
        regions = regions_of(features)
        # Regions with control words of like length together: less padding, the same sentences.
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        written: dict[int, tuple[str, float]] = {}
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            answers = self.write(regions[rows], [texts[row] for row in rows])
            written.update(zip(rows, answers, strict=True))
        return [_prediction(sample, *written[row]) for row, sample in enumerate(data_samples)]

    def write(self, regions: Tensor, controls: Sequence[str]) -> list[tuple[str, float]]:
        """Sentence and score of every region ``(B, Q, C)``, given its prompt."""
        with self.precision.autocast(regions):
            prefix, mask = self.prefix(regions, *self._controls(controls, regions))
            ids, scores = self.language_model.write(prefix, mask, **self.search, **self._special_ids())
        return list(zip(self.tokenizer.decode(ids.tolist()), scores.exp().tolist(), strict=True))

    def _special_ids(self) -> dict[str, Any]:
        return {"pad_token_id": self.tokenizer.pad_id, "eos_token_id": self.tokenizer.eos_id}

    def _controls(self, texts: Sequence[str], like: Tensor) -> tuple[Tensor, Tensor]:
        model = self.language_model
        ends = {"begin": model.begin_controls, "end": model.end_controls}
        return self._ids(texts, like, **ends, keep=self.keep)

    def _ids(self, texts: Sequence[str], like: Tensor, **ends: Any) -> tuple[Tensor, Tensor]:
        ids, mask = self.tokenizer.encode(texts, self.text_limit, **ends)
        return ids.to(like.device), mask.to(like.device)


def _prediction(sample: ReferringSample, caption: str, score: float) -> Prediction:
    caption = caption.strip()
    if not caption:
        return Prediction(sample.id, status="failed", raw=caption)
    boxes = sample.original_boxes if len(sample.boxes) == 1 else None
    return Prediction(sample.id, boxes, None if boxes is None else np.array([score]), caption=caption)
