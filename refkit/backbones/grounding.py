"""Perceiver and grounding encoder: features of any backbone in, fused features with a [REG] token out.

HiVG, section 3.2 and figure 2; official code ``models/HiVG.py`` and ``models/vl_transformer.py``.
Notation: ``B`` batch, ``P`` prefix tokens (CLIP: the class token), ``N`` patches, ``T`` text positions,
``D`` width, ``L = 1 + P + N + T`` the sequence ``[REG; prefix; patches; text]``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refkit.backbones.activation import recomputed
from refkit.backbones.inputs import InputError
from refkit.registry import MODELS
from refkit.structures import Features, FeatureSizes


@MODELS.register_module()
class GroundingEncoder(nn.Module):
    """Joins visual levels and words in one transformer encoder and reads the answer from the token [REG].

    Args:
        sizes: what the backbone hands over.
        width: channels of the encoder, ``D``.
        layers: depth.
        heads: attention heads; they divide the width.
        feedforward: channels between the two linear maps of a layer; four times the width unless given.
        dropout: in training, on attention weights and on both residual branches.
        sine: positions of patches start as two-dimensional sines (DETR) instead of noise, and all positions
            are also added to the tokens before the first layer, so that [REG] can read a place from what it
            attends to. Not in HiVG, whose layers add positions to queries and keys only.
        similarity: add the standardised ``Features.similarity`` to the patches, along one learned direction,
            and start [REG] from the patches it points to. Not in HiVG: a small model with a small budget
            starts from what the towers already know.
        checkpointing: keep only the inputs of the layers for the way back and compute the layers again
            there. Same values and gradients; see the page on speed and memory for what it costs.
    """

    def __init__(
        self,
        *,
        sizes: FeatureSizes,
        width: int = 512,
        layers: int = 6,
        heads: int = 8,
        feedforward: int | None = None,
        dropout: float = 0.1,
        sine: bool = False,
        similarity: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.checkpointing = checkpointing
        self.width = width
        visual_tokens = sizes.prefix_tokens + sizes.grid[0] * sizes.grid[1]
        self.perceiver = nn.Linear(sum(sizes.levels), width)
        self.visual_projection = nn.Linear(width, width)
        self.text_projection = nn.Linear(sizes.text, width)
        self.region_token = nn.Parameter(torch.randn(1, width))
        self.position = nn.Parameter(torch.randn(1 + visual_tokens + sizes.context_length, width))
        self.layers = nn.ModuleList(
            EncoderLayer(width=width, heads=heads, feedforward=feedforward or 4 * width, dropout=dropout)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.sine = sine
        if sine:
            with torch.no_grad():
                self.position[1 + sizes.prefix_tokens : 1 + visual_tokens] = sine_positions(sizes.grid, width)
        self.similarity = nn.Parameter(torch.randn(width)) if similarity else None
        self.sharpness = nn.Parameter(torch.tensor(2.0)) if similarity else None
        for parameter in self.layers.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    @torch.no_grad()
    def start_from(self, projection: Tensor) -> None:
        """Start the perceiver as copies of a ``(D, C)`` projection side by side, one per level."""
        self.perceiver.weight.copy_(torch.cat([projection] * len(self.sizes.levels), dim=1))

    def forward(self, features: Features, attention: bool = False) -> Features:
        """Fuse; ``region_token, visual, text, query`` of the result are outputs of the encoder.

        Args:
            features: with ``levels``, ``text``, ``text_mask`` and ``text_end``. Words after the longest text
                of the batch are left out: they are masked, so nothing else changes.
            attention: also return ``attention["grounding.<i>"] (B, heads, L, L)`` of every layer.
        """
        features = without_trailing_padding(features)
        visual, text = self.project(features)
        maps: dict[str, Tensor] = {}
        region = self.start(visual, features)
        sequence = self.fuse(region, visual, text, self.key_mask(features), maps if attention else None)
        return self.split(sequence, features, maps)

    def read(self, features: Features) -> Features:
        """Only ``region_token``, exactly as `forward` computes it: what [REG] may not look at is left out.

        Masked tokens answer nobody, so they are not carried through the layers, and the last layer runs for
        [REG] alone.
        """
        visual, text = self.project(features)
        region = self.start(visual, features)
        mask = self.key_mask(features)
        hidden = torch.cat((region, visual, text), dim=1)
        length = int(mask.sum(dim=1).max())
        order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)[:, :length]
        position = self.position[order]
        hidden = hidden.gather(1, order[..., None].expand(-1, -1, self.width))
        if self.sine:
            hidden = hidden + position.to(hidden.dtype)
        kept = mask.gather(1, order)[:, None, None, :]
        layers: list[Any] = list(self.layers)
        for layer in layers[:-1]:
            hidden = layer(hidden, position, kept)
        return replace(features, region_token=self.norm(layers[-1].first(hidden, position, kept))[:, 0])

    def project(self, features: Features) -> tuple[Tensor, Tensor]:
        """Tokens that enter the encoder: ``(B, P + N, D)`` visual ones and ``(B, T, D)`` words.

        Raises:
            InputError: another grid of patches, or a longer text, than there are positions for.
        """
        if features.levels is None or features.text is None:
            raise ValueError("the grounding encoder needs features with levels and text")
        if features.grid != self.sizes.grid or features.text.shape[1] > self.sizes.context_length:
            raise InputError(
                f"{_product(features.grid)} patches and {features.text.shape[1]} text tokens, but the "
                f"grounding encoder has positions for exactly {_product(self.sizes.grid)} and at most "
                f"{self.sizes.context_length}: bring pictures to the model's input size (size= of Letterbox)"
            )
        fused = self.perceiver(torch.cat(features.levels, dim=-1))
        visual = self.visual_projection(fused)
        if self.similarity is not None:
            visual = visual + self._pointing(features)[..., None].to(visual.dtype) * self.similarity
        return visual, self.text_projection(features.text)

    def start(self, visual: Tensor, features: Features) -> Tensor:
        """[REG] as it enters the encoder, ``(B, 1, D)``; ``visual`` as `project` gives it."""
        region = self.region_token.to(visual.dtype).expand(len(visual), 1, -1)
        if self.sharpness is None:
            return region
        outside = ~F.pad(features.visual_mask, (features.prefix_tokens, 0))
        weights = (self.sharpness * self._pointing(features)).masked_fill(outside, -torch.inf).softmax(dim=1)
        placed = visual + self.position[1 : 1 + visual.shape[1]].to(visual.dtype)
        return region + weights[:, None].to(visual.dtype) @ placed

    def _pointing(self, features: Features) -> Tensor:
        """Standardised similarity ``(B, P + N)`` of the patches of the image; 0 for prefix and padding."""
        if features.similarity is None:
            raise ValueError("similarity=True needs features.similarity: ask the backbone for it")
        real = features.visual_mask.float()
        count = real.sum(dim=1, keepdim=True)
        centred = (features.similarity - (features.similarity * real).sum(1, keepdim=True) / count) * real
        spread = (centred.square().sum(1, keepdim=True) / count).sqrt()
        return F.pad(centred / spread.clamp(min=1e-6), (features.prefix_tokens, 0))

    def key_mask(self, features: Features) -> Tensor:
        """``(B, L)`` bool, True = may be looked at: [REG], prefix, patches of the image, real words."""
        mask, text_mask = features.visual_mask, features.text_mask
        always = mask.new_ones(len(mask), 1 + features.prefix_tokens)
        assert text_mask is not None
        return torch.cat((always, mask, text_mask), dim=1)

    def fuse(
        self,
        region: Tensor,
        visual: Tensor,
        text: Tensor,
        key_mask: Tensor,
        maps: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """The encoder over ``[REG; visual; text]``: ``(B, L, D)``; ``maps`` collects attention maps."""
        hidden = torch.cat((region, visual, text), dim=1)
        position, mask = self.position[: hidden.shape[1]], key_mask[:, None, None, :]
        if self.sine:
            hidden = hidden + position.to(hidden.dtype)
        layer: Any
        for index, layer in enumerate(self.layers):
            if maps is not None:
                maps[f"grounding.{index}"] = layer.attention_map(hidden, position, mask)
            lean = self.checkpointing and self.training
            hidden = recomputed(layer, hidden, position, mask) if lean else layer(hidden, position, mask)
        return self.norm(hidden)

    def split(self, sequence: Tensor, features: Features, maps: dict[str, Tensor] | None = None) -> Features:
        """Name the parts of the encoder's output ``(B, L, D)``."""
        assert features.text_end is not None
        patches = 1 + features.prefix_tokens
        words = patches + features.visual_mask.shape[1]
        text = sequence[:, words:]
        return replace(
            features,
            region_token=sequence[:, 0],
            visual=sequence[:, patches:words],
            text=text,
            query=text[torch.arange(len(text), device=text.device), features.text_end],
            attention={**features.attention, **(maps or {})},
        )


def without_trailing_padding(features: Features) -> Features:
    """The same features with ``text`` cut to the longest text of the batch."""
    if features.text is None or features.text_mask is None or features.text_end is None:
        return features
    length = int(features.text_end.max()) + 1
    return replace(features, text=features.text[:, :length], text_mask=features.text_mask[:, :length])


def _product(grid: tuple[int, int]) -> str:
    return f"{grid[0]} x {grid[1]}"


def sine_positions(grid: tuple[int, int], width: int) -> Tensor:
    """``(rows * columns, width)``: a quarter each of sin and cos of the row and of the column.

    Wavelengths run from four grids, which keeps the place almost linear, down to two cells.
    """
    waves = torch.arange(width // 4) / max(width // 4 - 1, 1)
    axes = []
    for cells in grid:
        place = (torch.arange(cells) + 0.5) / cells
        angle = place[:, None] * (torch.pi / 2) * (2.0 * cells) ** waves
        axes.append(torch.cat((angle.sin(), angle.cos()), dim=1))
    rows = axes[0][:, None].expand(-1, grid[1], -1)
    columns = axes[1][None].expand(grid[0], -1, -1)
    table = torch.cat((rows, columns), dim=2).reshape(grid[0] * grid[1], -1)
    return F.pad(table, (0, width - table.shape[1]))


class EncoderLayer(nn.Module):
    """DETR's pre-norm encoder layer: every layer adds positions to queries and keys, never to values."""

    def __init__(self, *, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = PositionedAttention(width, heads, dropout)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, position: Tensor, mask: Tensor) -> Tensor:
        """``hidden (B, L, D)``, ``position (L, D)`` or ``(B, L, D)``, ``mask (B, 1, 1, L)`` True = key."""
        hidden = hidden + self.dropout(self.self_attn(self.norm1(hidden), position, mask))
        inner = self.dropout(F.relu(self.linear1(self.norm2(hidden))))
        return hidden + self.dropout(self.linear2(inner))

    def first(self, hidden: Tensor, position: Tensor, mask: Tensor) -> Tensor:
        """What `forward` gives for the first token alone: ``(B, 1, D)``."""
        states = self.norm1(hidden)
        hidden = hidden[:, :1] + self.dropout(self.self_attn(states, position, mask, queries=1))
        inner = self.dropout(F.relu(self.linear1(self.norm2(hidden))))
        return hidden + self.dropout(self.linear2(inner))

    def attention_map(self, hidden: Tensor, position: Tensor, mask: Tensor) -> Tensor:
        """Softmax map ``(B, heads, L, L)`` of this layer for its input."""
        query, key, _ = self.self_attn.project(self.norm1(hidden), position)
        logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        return logits.masked_fill(~mask, float("-inf")).softmax(dim=-1)


class PositionedAttention(nn.Module):
    """Fused self-attention with parameters named and laid out as ``nn.MultiheadAttention``'s.

    The standard module materialises its projections for three separate inputs; here query and key share one
    product.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} cannot be split over {heads} heads")
        self.heads = heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def project(self, states: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value ``(B, heads, L, D / heads)`` of ``states (B, L, D)``."""
        batch, length, width = states.shape
        weight, bias = self.in_proj_weight, self.in_proj_bias
        pair = F.linear(states + position, weight[: 2 * width], bias[: 2 * width])
        value = F.linear(states, weight[2 * width :], bias[2 * width :])
        query, key = pair.view(batch, length, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return query, key, value.view(batch, length, self.heads, -1).transpose(1, 2)

    def forward(self, states: Tensor, position: Tensor, mask: Tensor, queries: int | None = None) -> Tensor:
        """``states (B, L, D)`` attend to each other where ``mask (B, 1, 1, L)`` is True.

        With ``queries``, only that many from the front are answered.
        """
        query, key, value = self.project(states, position)
        query = query[:, :, :queries]
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))
