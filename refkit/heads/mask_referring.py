"""Heads of Mask Referring Modeling: what is hidden, and where the hidden part lies relative to the target.

OneRef, section 3.2: Referring MIM (hidden patches) and Referring MLM (hidden words). Both predict the content
of what is hidden, and a relation with the target for every token. Products of unit vectors of the two
modalities carry the other modality's view: ``e_t * v_i`` (sentence, patch) and ``e_v * w_j`` (picture, word).

Their targets are not in the samples: a frozen tokenizer and a frozen teacher make them from the pixels. So
``loss`` takes them as they are, and `refkit.models.MRefM` provides them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from timm.layers import trunc_normal_
from torch import Tensor, nn

from refkit.losses.mask_referring import (
    RelationSoftmax,
    mean_without_worst,
    relation_divergence,
    relation_l1,
    smoothed_divergence,
)
from refkit.registry import MODELS
from refkit.structures import Features

Switch = Literal["off", "on"]
MlmInput = Literal["raw", "product"]
_SWITCH = ("off", "on")


@dataclass(frozen=True, slots=True)
class PatchTargets:
    """What the hidden patches of a batch were.

    Attributes:
        masked: ``(B, N)`` bool, True = hidden.
        codes: ``(B, N)`` int64 of the visual tokenizer.
        relation: ``(B, N, 4)``, see `refkit.losses.mask_referring.relation_l1`; needed with relation losses.
    """

    masked: Tensor
    codes: Tensor
    relation: Tensor | None = None


@dataclass(frozen=True, slots=True)
class WordTargets:
    """What the hidden words of a batch were.

    Attributes:
        masked: ``(B, T)`` bool, True = to be predicted.
        token_ids: ``(B, T)`` int64 before hiding.
        relation: ``(B, T - 2)``, the teacher's score of every position but the first and the last slot;
            needed with relation losses.
    """

    masked: Tensor
    token_ids: Tensor
    relation: Tensor | None = None


@MODELS.register_module()
class MaskedImageHead(nn.Module):
    """Referring MIM: codes of hidden patches, and a 4-channel visual target-relation score of all of them.

    Args:
        width: channels of the shared space.
        codes: of the visual tokenizer.
        relation_losses: ``on`` (paper) or ``off`` (all released scripts): whether the score is trained.
        content_weight: coefficient of the content loss; 1 in OneRef.
        relation_weight: coefficient of the relation loss; 1 in OneRef.
    """

    needs = ("sentence", "visual_aligned")
    answers = False
    hides = "patches"

    def __init__(
        self,
        *,
        width: int,
        codes: int = 8192,
        relation_losses: Switch = "off",
        content_weight: float = 1.0,
        relation_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.content_weight = content_weight
        self.relation_weight = relation_weight
        self.content = nn.Linear(width, codes)
        self.relation = _perceptron(width, 4)
        self.relating = _switched(self.relation, relation_losses)

    def product(self, features: Features) -> Tensor:
        """``e_t * v_i``: ``(B, N, C)`` float32; its sum over channels is the similarity."""
        if features.sentence is None or features.visual_aligned is None:
            raise ValueError(
                "the masked-image head needs features.visual_aligned: BEiT3Backbone with projections"
            )
        return features.sentence[:, None].float() * features.visual_aligned.float()

    def forward(self, product: Tensor) -> Tensor:
        """Logits ``(..., codes)`` of the code of every patch, from its product ``(..., C)``."""
        return self.content(F.normalize(product, dim=-1)).float()

    def tensors(self, features: Features) -> dict[str, Tensor]:
        """``mim_logits (B, N, codes)`` and ``visual_relation_pred (B, N, 4)``."""
        product = self.product(features)
        return {"mim_logits": self(product), "visual_relation_pred": self.relation(product).float()}

    def loss(self, features: Features, targets: PatchTargets, step: int = 0) -> dict[str, Tensor]:
        """``loss_mim``, with relation losses also ``loss_mim_vts``, and the figure ``mim_accuracy``.

        Args:
            features: of the picture with hidden patches and the whole sentence.
            targets: see `PatchTargets`.
            step: not used; number of the optimizer step.

        Raises:
            ValueError: relation losses without their targets.
        """
        product = self.product(features)
        logits, labels = self(product[targets.masked]), targets.codes[targets.masked]
        losses = {
            "loss_mim": self.content_weight * F.cross_entropy(logits, labels, reduction="sum") / _some(labels)
        }
        if self.relating:
            target = _required(targets.relation, "visual_relation")
            losses["loss_mim_vts"] = self.relation_weight * relation_l1(self.relation(product), target)
        return losses | {"mim_accuracy": _accuracy(logits, labels)}


@MODELS.register_module()
class MaskedTextHead(nn.Module):
    """Referring MLM: hidden words, and a semantic target-relation score of every word.

    Args:
        width: channels of words and of the shared space.
        vocabulary: rows of the word table.
        mlm_input: what words are read from: ``raw`` hidden states ``T_j`` (released code), or the
            ``product`` ``e_v * w_j``, scaled to length one (paper).
        relation_losses: ``on`` (paper) or ``off`` (all released scripts): whether the score is trained.
        relation_softmax: ``double``: as released, over all slots of the text, padding included, so the text
            must not be trimmed; ``single``: over the words of the sentence, see `relation_divergence`.
        smoothing: share of the target distribution that is spread over the rest of the vocabulary.
        drop_worst: share of the hidden words, those with the largest losses, that is left out late.
        drop_from: optimizer step at which that begins.
        context_length: slots of an untrimmed text.
        content_weight: coefficient of the content loss; 1 in OneRef.
        relation_weight: coefficient of the relation loss; 1 in OneRef.
    """

    needs = ("text", "text_mask", "text_end", "image", "text_aligned")
    answers = False
    hides = "words"

    def __init__(
        self,
        *,
        width: int,
        vocabulary: int = 64010,
        mlm_input: MlmInput = "raw",
        relation_losses: Switch = "off",
        relation_softmax: RelationSoftmax = "double",
        smoothing: float = 0.1,
        drop_worst: float = 0.2,
        drop_from: int = 12000,
        context_length: int = 64,
        content_weight: float = 1.0,
        relation_weight: float = 1.0,
    ) -> None:
        super().__init__()
        _one_of("mlm_input", mlm_input, ("raw", "product"))
        _one_of("relation_softmax", relation_softmax, ("double", "single"))
        if not (0 <= smoothing < 1 and 0 <= drop_worst < 1):
            raise ValueError(f"smoothing={smoothing}, drop_worst={drop_worst}: expected shares in [0, 1)")
        self.mlm_input = mlm_input
        self.relation_softmax = relation_softmax
        self.smoothing = smoothing
        self.drop_worst = drop_worst
        self.drop_from = drop_from
        self.context_length = context_length
        self.content_weight = content_weight
        self.relation_weight = relation_weight
        self.content = nn.Linear(width, vocabulary)
        trunc_normal_(self.content.weight, std=0.02, a=-0.02, b=0.02)
        nn.init.zeros_(self.content.bias)
        self.relation = _perceptron(width, 1)
        self.relating = _switched(self.relation, relation_losses)

    def product(self, features: Features) -> Tensor:
        """``e_v * w_j``: ``(B, T, C)`` float32."""
        if features.image is None or features.text_aligned is None:
            raise ValueError(
                "the masked-text head needs features.text_aligned: BEiT3Backbone with projections"
            )
        return features.image[:, None].float() * features.text_aligned.float()

    def words(self, features: Features) -> Tensor:
        """What content is predicted from, ``(B, T, C)``, see ``mlm_input``."""
        if features.text is None:
            raise ValueError("the masked-text head needs features.text")
        return features.text if self.mlm_input == "raw" else F.normalize(self.product(features), dim=-1)

    def forward(self, words: Tensor) -> Tensor:
        """Logits ``(..., vocabulary)`` of every word, from what `words` gives, ``(..., C)``."""
        return self.content(words).float()

    def relation_logits(self, features: Features) -> Tensor:
        """Score ``(B, T - 2)`` of every position but the first and the last slot, before the softmax."""
        return self.relation(self.product(features)[:, 1:-1]).squeeze(-1).float()

    def tensors(self, features: Features) -> dict[str, Tensor]:
        """``mlm_logits (B, T, vocabulary)``, ``semantic_relation_logits (B, T - 2)``."""
        return {
            "mlm_logits": self(self.words(features)),
            "semantic_relation_logits": self.relation_logits(features),
        }

    def loss(self, features: Features, targets: WordTargets, step: int = 0) -> dict[str, Tensor]:
        """``loss_mlm``, with relation losses also ``loss_mlm_sts``, and the figure ``mlm_accuracy``.

        Args:
            features: of the whole picture and the sentence with hidden words.
            targets: see `WordTargets`.
            step: number of the optimizer step, from 0.

        Raises:
            ValueError: relation losses without their targets, or ``double`` with trimmed text.
        """
        logits = self(self.words(features)[targets.masked])
        labels = targets.token_ids[targets.masked]
        errors = smoothed_divergence(logits, labels, self.smoothing)
        dropped = self.drop_worst if step >= self.drop_from else 0.0
        losses = {"loss_mlm": self.content_weight * mean_without_worst(errors, dropped)}
        if self.relating:
            losses["loss_mlm_sts"] = self.relation_weight * self._relation_loss(features, targets)
        return losses | {"mlm_accuracy": _accuracy(logits, labels)}

    def _relation_loss(self, features: Features, targets: WordTargets) -> Tensor:
        target = _required(targets.relation, "semantic_relation")
        logits, counted = self.relation_logits(features), self._counted(features)
        return relation_divergence(logits, target, counted, self.relation_softmax)

    def _counted(self, features: Features) -> Tensor:
        """``(B, T - 2)`` bool: positions over which the softmax runs."""
        mask, end = features.text_mask, features.text_end
        if mask is None or end is None:
            raise ValueError("the semantic relation score needs features.text_mask and features.text_end")
        if self.relation_softmax == "single":
            places = torch.arange(mask.shape[1], device=mask.device)
            return (mask & (places < end[:, None]))[:, 1:-1]
        if mask.shape[1] != self.context_length:
            raise ValueError(
                f"relation_softmax='double' counts padding as released, but the text was trimmed to "
                f"{mask.shape[1]} of {self.context_length} slots, so that results would depend on the batch: "
                "set trim_text=False in the data preprocessor, or relation_softmax='single'"
            )
        return torch.ones_like(mask[:, 1:-1], dtype=torch.bool)


def _perceptron(width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )


def _switched(module: nn.Module, switch: str) -> bool:
    """Whether a part is trained; it exists in any case, as in the released files."""
    _one_of("relation_losses", switch, _SWITCH)
    module.requires_grad_(switch == "on")
    return switch == "on"


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}={value!r}; expected one of {', '.join(known)}")


def _required(target: Tensor | None, name: str) -> Tensor:
    if target is None:
        raise ValueError(f"relation_losses='on' needs {name} targets, and nothing provides them")
    return target


def _some(labels: Tensor) -> int:
    return max(len(labels), 1)


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.detach().argmax(dim=-1) == labels).float().sum() / _some(labels)
