"""The decoder that both recognition heads share: texts are queries that look at a region.

DynRefer, section 3.3 (``D_tag`` and ``D_rtc``). Notation: ``B`` regions, ``Q`` tokens of
each, ``P`` texts, ``C`` channels inside a decoder.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refkit.heads.precision import Precision
from refkit.heads.vocabulary import Vocabulary
from refkit.structures import Features, Prediction, ReferringSample

_ROWS = 1 << 16  # pairs of region and text that are decoded at once without gradients


class RecognitionLayer(nn.Module):
    """Cross-attention and feed-forward, each followed by a norm; queries do not see each other."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.attention_norm = nn.LayerNorm(width, eps=1e-12)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward), nn.GELU(), nn.Linear(feedforward, width)
        )
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """``queries (B or 1, P, C)`` that have read ``memory (B, Q, C)``: ``(B, P, C)``."""
        query = self._split(self.query(queries)).expand(len(memory), -1, -1, -1)
        key, value = self._split(self.key(memory)), self._split(self.value(memory))
        drop = self.dropout.p if self.training else 0.0
        read = F.scaled_dot_product_attention(query, key, value, dropout_p=drop).transpose(1, 2).flatten(2)
        states = self.attention_norm(queries + self.dropout(self.output(read)))
        return self.norm(states + self.dropout(self.feedforward(states)))

    def _split(self, states: Tensor) -> Tensor:
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class RecognitionHead(nn.Module, ABC):
    """Scores of texts for regions; a subclass says what they mean.

    Since queries do not interact, the scores of a text do not depend on which others are asked for.

    Args:
        width: channels of the regions.
        text_width: channels of the text embeddings.
        unit: scale what the decoder returns to length one before it is weighed up.
        hidden, layers, heads, feedforward, dropout: sizes of the decoder.
        precision: ``bfloat16`` runs everything under autocast, as the published numbers were made: scores
            then have few steps and many ties.

    Attributes:
        vocabularies: `Vocabulary` by the task that it answers.
    """

    answers = True
    vocabularies: nn.ModuleDict

    def __init__(
        self,
        width: int,
        text_width: int,
        unit: bool,
        hidden: int = 256,
        layers: int = 2,
        heads: int = 4,
        feedforward: int = 1024,
        dropout: float = 0.1,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        self.unit, self.precision, self.text_width = unit, Precision(precision), text_width
        self.text_projection = nn.Linear(text_width, hidden)
        self.region_projection = nn.Linear(width, hidden)
        self.decoder = nn.ModuleList(
            RecognitionLayer(hidden, heads, feedforward, dropout) for _ in range(layers)
        )
        self.score = nn.Linear(hidden, 1)

    def tables(self) -> dict[str, Vocabulary]:
        """`Vocabulary` by the task that it answers."""
        return dict(self.vocabularies.items())  # type: ignore[arg-type]

    @property
    def tasks(self) -> tuple[str, ...]:
        """What this head answers: fields of `Prediction`."""
        return tuple(self.vocabularies)

    @abstractmethod
    def answer(self, task: str, scores: Tensor) -> list[dict[str, float]]:
        """What is told of every region, from its scores ``(B, P)`` of the vocabulary's prompts."""

    def forward(self, features: Features, texts: Tensor) -> Tensor:
        """Scores ``(B, P)`` of ``texts (P, text_width)`` for ``features.regions (B, Q, width)``."""
        with self.precision.autocast(texts):
            return self.decode(self.region_projection(regions_of(features)), self.text_projection(texts))

    def scores(self, features: Features, task: str) -> Tensor:
        """Scores ``(B, P)`` of all prompts of a task's vocabulary."""
        return self(features, self.tables()[task].filled())

    def decode(self, memory: Tensor, queries: Tensor) -> Tensor:
        """``(B, P)`` from projected regions ``(B, Q, C)`` and texts ``(P, C)``."""
        if torch.is_grad_enabled():
            return self._decode(memory, queries)
        parts = queries.split(max(1, _ROWS // max(1, len(memory))))
        return torch.cat([self._decode(memory, part) for part in parts], dim=1)

    def _decode(self, memory: Tensor, queries: Tensor) -> Tensor:
        # One row for all regions until they differ: the first layer projects every text once.
        states = queries[None]
        for layer in self.decoder:
            states = layer(states, memory)
        return self.score(F.normalize(states, dim=-1) if self.unit else states)[..., 0]

    def predict(
        self,
        features: Features,
        data_samples: Sequence[ReferringSample],
        tasks: Sequence[str] | None = None,
    ) -> list[Prediction]:
        """One prediction per region with the answers to ``tasks``, by default to all that it can."""
        asked = [task for task in self.tasks if tasks is None or task in tasks]
        tables = {task: self.answer(task, self.scores(features, task)) for task in asked}
        return [
            Prediction(sample.id, **{task: table[row] for task, table in tables.items()})  # type: ignore[arg-type]
            for row, sample in enumerate(data_samples)
        ]

    def tensors(self, features: Features) -> dict[str, Tensor]:
        """``<task>_scores (B, P)`` of every task."""
        return {f"{task}_scores": self.scores(features, task) for task in self.tasks}


def regions_of(features: Features) -> Tensor:
    """``features.regions (B, Q, C)``; a head of regions can do nothing without."""
    if features.regions is None:
        raise ValueError("this head needs features.regions: give the model a RegionEncoder as backbone")
    return features.regions
