"""BLIP-2's Q-Former: a fixed number of learned queries read any number of visual tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel


class QFormer(nn.Module):
    """transformers' ``Blip2QFormerModel`` without its text branch, and its queries.

    Args:
        visual_width: channels of the tokens that are read.
        width, layers, heads, feedforward: sizes; BERT-base's by default.
        queries: number of query tokens, 32 in BLIP-2 and DynRefer.
        cross_every: every so many layers, the first included, read the visual tokens.
        dropout: in training.
    """

    def __init__(
        self,
        visual_width: int,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        feedforward: int = 3072,
        queries: int = 32,
        cross_every: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.width, self.queries = width, queries
        self.query_tokens = nn.Parameter(torch.zeros(1, queries, width))
        nn.init.normal_(self.query_tokens, std=0.02)
        self.bert = Blip2QFormerModel(
            Blip2QFormerConfig(
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=feedforward,
                encoder_hidden_size=visual_width,
                cross_attention_frequency=cross_every,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
                use_qformer_text_input=False,
            )
        )

    def forward(self, visual: Tensor) -> Tensor:
        """``(B, L, visual_width)`` to ``(B, queries, width)``."""
        return self.hidden_states(visual)[-1]

    def hidden_states(self, visual: Tensor) -> list[Tensor]:
        """The normalised queries and the output of every layer, ``(B, queries, width)`` each."""
        bert = self.bert
        hidden = bert.dropout(bert.layernorm(self.query_tokens)).expand(len(visual), -1, -1)
        states = [hidden]
        for layer in bert.encoder.layer:
            states.append(layer(states[-1], None, visual, query_length=self.queries))
        return states
