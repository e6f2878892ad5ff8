"""Recognising regions by texts: tags out of a long list, and any attribute or class by its name.

DynRefer, section 3.3. Notation: ``B`` regions, ``Q`` tokens of each, ``P`` prompts, ``K`` names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_gather, get_rank
from torch import Tensor, nn

from refkit.heads.recogniser import RecognitionHead, regions_of
from refkit.heads.vocabulary import Names, Vocabulary
from refkit.losses.recognition import asymmetric, pairwise_sigmoid
from refkit.registry import MODELS
from refkit.structures import Features, ReferringSample


@MODELS.register_module()
class TagHead(RecognitionHead):
    """``D_tag``: which words of a list fit a region.

    Args:
        width: channels of the regions.
        tags: the list, see `refkit.heads.vocabulary.Names`; DynRefer's is RAM's, 4585 words.
        text_width: channels of the text embeddings.
        threshold: a tag is told where its probability is greater; 0.7 in DynRefer (0.76 on RefCOCOg, 0.8 for
            captions of Visual Genome).
        weight: coefficient of the loss, which is a sum over the batch and all tags; 0.01 in DynRefer.
        decoder: sizes and precision, see `RecognitionHead`.
    """

    needs = ("regions",)

    def __init__(
        self,
        *,
        width: int,
        tags: Names,
        text_width: int = 1024,
        threshold: float = 0.7,
        weight: float = 0.01,
        **decoder: Any,
    ) -> None:
        super().__init__(width, text_width, unit=False, **decoder)
        self.threshold, self.weight = threshold, weight
        self.vocabularies = nn.ModuleDict({"tags": Vocabulary(tags, text_width)})

    def answer(self, task: str, scores: Tensor) -> list[dict[str, float]]:
        """Probabilities of the tags above the threshold, in the order of the list.

        In bfloat16 the threshold is rounded like the probabilities, as released.
        """
        vocabulary = self.tables()[task]
        chances = vocabulary.best(scores.sigmoid())
        told = chances > self.threshold
        return [
            {vocabulary.names[index]: float(row[index]) for index in kept.nonzero()[:, 0].tolist()}
            for row, kept in zip(chances.float().cpu(), told.cpu(), strict=True)
        ]

    def loss(self, features: Features, data_samples: Sequence[ReferringSample]) -> dict[str, Tensor]:
        """``loss_tag``, coefficient included; ``meta["tags"]`` of a sample are its tags, none by default.

        Raises:
            VocabularyError: a tag that the list does not have.
        """
        vocabulary = self.tables()["tags"]
        logits = vocabulary.best(self.scores(features, "tags"))
        targets = vocabulary.targets([sample.meta.get("tags") or () for sample in data_samples])
        return {"loss_tag": self.weight * asymmetric(logits, targets)}


@MODELS.register_module()
class RegionContrastHead(RecognitionHead):
    """``D_rtc``: how well any text fits a region; trained on captions, asked for attributes and classes.

    Args:
        width: channels of the regions.
        attributes: names of attributes, best with prompts, or None to answer no attributes.
        categories: the same for classes.
        text_width: channels of the text embeddings.
        weight: coefficient of the loss; 0.5 in DynRefer.
        temperature, bias: where the logarithm of the logits' factor, and what is added to them, start.
        decoder: sizes and precision, see `RecognitionHead`.
    """

    needs = ("regions", "sentence")

    def __init__(
        self,
        *,
        width: int,
        attributes: Names | None = None,
        categories: Names | None = None,
        text_width: int = 1024,
        weight: float = 0.5,
        temperature: float = math.log(10),
        bias: float = -10.0,
        **decoder: Any,
    ) -> None:
        super().__init__(width, text_width, unit=True, **decoder)
        self.weight = weight
        self.temperature = nn.Parameter(torch.tensor(float(temperature)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))
        given = {"attributes": attributes, "categories": categories}
        self.vocabularies = nn.ModuleDict(
            {task: Vocabulary(names, text_width) for task, names in given.items() if names is not None}
        )

    def answer(self, task: str, scores: Tensor) -> list[dict[str, float]]:
        """The score of every name by its best prompt: attributes in (0, 1), categories as they come."""
        vocabulary = self.tables()[task]
        scores = scores.sigmoid() if task == "attributes" else scores
        rows = vocabulary.best(scores).float().tolist()
        return [dict(zip(vocabulary.names, row, strict=True)) for row in rows]

    def loss(self, features: Features, data_samples: Sequence[ReferringSample]) -> dict[str, Tensor]:
        """``loss_contrast``, coefficient included, among the pairs of all processes.

        Every process must have the same number of pairs. What other processes and this one contribute as
        columns is gathered without gradient, after its projection, as released.
        """
        if features.sentence is None:
            raise ValueError("the contrast of regions and texts needs features.sentence: embedded captions")
        with self.precision.autocast(features.sentence):
            regions = self.region_projection(regions_of(features))
            texts = self.text_projection(features.sentence)
            every_region = torch.cat(all_gather(regions.detach()))
            every_text = torch.cat(all_gather(texts.detach()))
            by_text = self.decode(every_region, texts).T
            by_region = self.decode(regions, every_text)
        first = get_rank() * len(regions)
        sides = [pairwise_sigmoid(self.logits(scores), first) for scores in (by_text, by_region)]
        return {"loss_contrast": self.weight * torch.stack(sides).mean()}

    def logits(self, scores: Tensor) -> Tensor:
        """``scores * exp(temperature) + bias``, which only training reads."""
        return scores.float() * self.temperature.exp() + self.bias
