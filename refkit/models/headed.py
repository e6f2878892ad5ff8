"""Models that are a source of `Features` and heads by name: losses added up, answers merged."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from refkit.models.base import ReferringModel
from refkit.registry import MODELS
from refkit.structures import Features, Prediction, ReferringSample


class NoAnswerError(ValueError):
    """A model was asked where something is that can only be trained."""


class HeadedModel(ReferringModel):
    """`ReferringModel` whose losses, predictions and tensors are those of its heads.

    A family says in its constructor what ``heads`` are (`build_heads`), and in `features` what they read.
    """

    heads: nn.ModuleDict

    @staticmethod
    def build_heads(heads: Mapping[str, Mapping[str, Any]], width: int) -> nn.ModuleDict:
        """Heads by name from their configs, all of one width."""
        return nn.ModuleDict({name: MODELS.build({**head, "width": width}) for name, head in heads.items()})

    @abstractmethod
    def features(self, inputs: Mapping[str, Tensor], attention: bool = False) -> Features:
        """What all heads read; ``attention`` asks for attention maps."""

    def answering_features(self, inputs: Mapping[str, Tensor], heads: Sequence[Any]) -> Features:
        """What these heads read to predict; a family that can do with less overrides it."""
        return self.features(inputs)

    @property
    def answers(self) -> bool:
        """Whether a head is switched on that answers; a stage of training may have none."""
        return any(head.answers for head in self.active_heads())

    def loss(self, inputs: dict[str, Tensor], data_samples: Sequence[ReferringSample]) -> dict[str, Tensor]:
        """Losses of all heads."""
        features = self.features(inputs)
        losses: dict[str, Tensor] = {}
        for head in self.active_heads():
            losses.update(head.loss(features, data_samples))
        return losses

    @torch.no_grad()
    def predict(self, inputs: dict[str, Tensor], data_samples: Sequence[ReferringSample]) -> list[Prediction]:
        """Predictions of the heads that answer, merged per sample.

        Raises:
            NoAnswerError: no head answers.
        """
        heads = [head for head in self.active_heads() if head.answers]
        if not self.answers:
            names = ", ".join(self.heads) or "there is none"
            raise NoAnswerError(
                f"none of the heads of this {type(self).__name__} answers ({names}): give its weights to a "
                "model with a box or mask head"
            )
        features = self.answering_features(inputs, heads)
        answers = [head.predict(features, data_samples) for head in heads]
        return [merged(parts) for parts in zip(*answers, strict=True)]

    def head_tensors(self, features: Features) -> dict[str, Tensor]:
        """Named raw outputs of all heads."""
        named: dict[str, Tensor] = {}
        for head in self.active_heads():
            named.update(head.tensors(features))
        return named

    def active_heads(self) -> list[Any]:
        """Heads that are not switched off."""
        return [head for name, head in self.heads.items() if f"heads.{name}" not in self.without]


def merged(parts: Sequence[Prediction]) -> Prediction:
    """One answer about a sample from those of several heads; the first that knows a field wins."""
    answer = parts[0]
    for part in parts[1:]:
        for field in part.__dataclass_fields__:
            if getattr(answer, field) is None:
                setattr(answer, field, getattr(part, field))
    return answer
