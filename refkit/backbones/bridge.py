"""MACB, the multi-layer adaptive cross-modal bridge: words enter the blocks of a vision tower.

HiVG, section 3.3 and equations of the bridge; official code: the modified ``CLIPEncoderLayer`` of
``models/clip``. Notation: ``B`` batch, ``L`` visual tokens, ``T`` text positions, ``W`` width of the vision
tower, ``Wt`` width of the text tower, ``D`` shared width, ``J`` text levels read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refkit.backbones.activation import QuickGELU
from refkit.registry import MODELS

WeightShape = Literal["full", "channel", "token", "scalar"]
WEIGHT_SHAPES = ("full", "channel", "token", "scalar")
Half = Callable[[Tensor], Tensor]


@MODELS.register_module()
class CrossModalBridge(nn.ModuleDict):
    """The bridges of one vision tower, by the number of the block they sit in.

    A bridge stands between the self-attention and the perceptron of its block: visual tokens attend to the
    words, and a perceptron of what they read is added to them. It works on any list of blocks, see
    `bridged`.

    Args:
        width: channels of the vision tower, ``W``.
        heads: attention heads of the vision tower.
        text_width: channels of the text tower's hidden states, ``Wt``.
        embed: channels of the projected words, ``D``.
        context_length: text positions; words are not trimmed where bridges look at them.
        depth: blocks of the vision tower.
        blocks: which blocks get a bridge, from 0. HiVG-B: 0, 3, 7, 11; HiVG-L: 4, 10, 16, 22.
        text_levels: hidden states of the text tower that are read, 0 = embeddings.
        weight_shape: shape of the adaptive weights of a level: ``full`` ``(T, Wt)`` as published,
            ``channel`` ``(1, Wt)``, ``token`` ``(T, 1)``, ``scalar`` ``(1, 1)``; None = no weights.
        source: ``levels`` (single-data-set models) or ``projected``: one linear map of the projected words
            for all bridges, no weights and no gates (dataset-mixed models).
        cross_attention: False replaces the attention by the mean over all text positions (ablation; the
            paper does not say what took its place, this is our reading).
        layer_to_layer: bridge ``i`` reads the ``i``-th text level alone instead of all of them (ablation).
        published_batch_mixing: as in the released code, a sample's keys and values are rows of all samples
            of the batch: ``(T, B)`` rows are read as ``(B, T)``. Off, a prediction does not depend on what
            else is in the batch.
        zero_init: the last linear map of every bridge starts at zero, so that training starts from the
            vision tower as it was. Not in HiVG, whose bridges disturb CLIP from the first step.
    """

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        text_width: int,
        embed: int,
        context_length: int,
        depth: int,
        blocks: Sequence[int],
        text_levels: Sequence[int],
        weight_shape: WeightShape | None = "full",
        source: Literal["levels", "projected"] = "levels",
        cross_attention: bool = True,
        layer_to_layer: bool = False,
        published_batch_mixing: bool = False,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        _check(blocks, depth, text_levels, weight_shape, source, layer_to_layer)
        self.blocks = tuple(blocks)
        self.text_levels = tuple(text_levels) if source == "levels" else ()
        self.context_length = context_length
        self.layer_to_layer = layer_to_layer
        self.published_batch_mixing = published_batch_mixing
        levels = 1 if layer_to_layer else len(self.text_levels)
        shape = weight_shape and _weight_shape(weight_shape, context_length, text_width)
        for block in self.blocks:
            gate = TextGate(levels, text_width, width, shape) if source == "levels" else None
            bridge = BridgeBlock(width, heads, gate, cross_attention)
            if zero_init:
                nn.init.zeros_(bridge.mlp.fc2.weight)
                nn.init.zeros_(bridge.mlp.fc2.bias)
            self[str(block)] = bridge
        self.projection = nn.Linear(embed, width) if source == "projected" else None

    def words(self, states: Mapping[int, Tensor], projected: Tensor) -> dict[int, Tensor]:
        """What each bridge reads, by block: ``(B, T, W)``.

        Args:
            states: hidden states ``(B, T, Wt)`` by level.
            projected: words in the shared space, ``(B, T, D)``.
        """
        if self.projection is not None:
            shared = self._arranged(self.projection(projected))
            return dict.fromkeys(self.blocks, shared)
        return {
            block: self._arranged(self._block(block).gate([states[level] for level in self._levels(place)]))
            for place, block in enumerate(self.blocks)
        }

    def forward(self, block: int, hidden: Tensor, words: Tensor) -> Tensor:
        """``hidden (B, L, W)`` with what bridge ``block`` reads from ``words (B, T, W)`` added to it."""
        return hidden + self._block(block)(hidden, words)

    def attention_map(self, block: int, hidden: Tensor, words: Tensor) -> Tensor:
        """Softmax map ``(B, heads, L, T)`` of a bridge for its input."""
        return self._block(block).attention_map(hidden, words)

    def _block(self, block: int) -> Any:
        return self[str(block)]

    def _levels(self, place: int) -> tuple[int, ...]:
        return self.text_levels[place : place + 1] if self.layer_to_layer else self.text_levels

    def _arranged(self, words: Tensor) -> Tensor:
        if not self.published_batch_mixing:
            return words
        return words.transpose(0, 1).reshape(words.shape)


def bridged(block: nn.Module, bridge: Half, hidden: Tensor) -> Tensor:
    """A transformer block with a bridge between its two halves: ``hidden (B, L, W)`` in and out.

    Args:
        block: of transformers' CLIP (``layer_norm1``, ``self_attn``, …), of timm's vision transformers
            (``norm1``, ``attn``, …), or any block with a method ``halves``.
        bridge: adds what it reads to the tokens.
    """
    attend, feed = halves(block)
    return feed(bridge(attend(hidden)))


def halves(block: Any) -> tuple[Half, Half]:
    """The two residual halves of a pre-norm block: self-attention, perceptron.

    Raises:
        TypeError: a block of unknown layout.
    """
    if hasattr(block, "halves"):
        return block.halves()
    if hasattr(block, "layer_norm1"):
        return (
            lambda hidden: hidden + block.self_attn(block.layer_norm1(hidden), attention_mask=None)[0],
            lambda hidden: hidden + block.mlp(block.layer_norm2(hidden)),
        )
    if hasattr(block, "norm1") and hasattr(block, "attn"):
        return (
            lambda hidden: hidden + block.drop_path1(block.ls1(block.attn(block.norm1(hidden)))),
            lambda hidden: hidden + block.drop_path2(block.ls2(block.mlp(block.norm2(hidden)))),
        )
    raise TypeError(
        f"{type(block).__name__} cannot take a bridge: give it a method halves() that returns its "
        "self-attention and its perceptron, both with their residual"
    )


class BridgeBlock(nn.Module):
    """One bridge: norm, cross-attention to the words, perceptron; returns the update alone."""

    def __init__(self, width: int, heads: int, gate: TextGate | None, cross_attention: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if cross_attention else None
        self.attention = CrossAttention(width, heads) if cross_attention else None
        self.mlp = QuickPerceptron(width, 4 * width)
        if gate is not None:
            self.gate = gate

    def forward(self, hidden: Tensor, words: Tensor) -> Tensor:
        """``hidden (B, L, W)``, ``words (B, T, W)`` → update ``(B, L, W)``, or ``(B, 1, W)`` of the mean."""
        if self.attention is None or self.norm is None:
            return self.mlp(words.mean(dim=1, keepdim=True))
        return self.mlp(self.attention(self.norm(hidden), words))

    def attention_map(self, hidden: Tensor, words: Tensor) -> Tensor:
        """Softmax map ``(B, heads, L, T)``.

        Raises:
            ValueError: this bridge takes the mean and has no map.
        """
        if self.attention is None or self.norm is None:
            raise ValueError("a bridge without cross-attention has no attention map")
        query, key, _ = self.attention.project(self.norm(hidden), words)
        return (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)


class TextGate(nn.Module):
    """Adaptive weights and gate: ``J`` text levels become one input of a bridge.

    ``A_j = S_j + S_j * w_j`` for every level, the same for all samples; side by side on channels; one linear
    map to the width of the vision tower.
    """

    def __init__(self, levels: int, text_width: int, width: int, shape: tuple[int, int] | None) -> None:
        super().__init__()
        count = 0 if shape is None else levels
        self.weights = nn.ParameterList(torch.randn(shape or ()) for _ in range(count))
        self.linear = nn.Linear(levels * text_width, width)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """``J`` tensors ``(B, T, Wt)`` → ``(B, T, W)``.

        Raises:
            ValueError: texts of another length than the adaptive weights have positions for.
        """
        if not len(self.weights):
            return self.linear(torch.cat(list(levels), dim=-1))
        positions, length = self.weights[0].shape[0], levels[0].shape[1]
        if positions not in (1, length):
            raise ValueError(
                f"texts of {length} positions, but the bridge has weights for {positions}: "
                "switch off trim_text in the data preprocessor"
            )
        weighted = [
            state + state * weight.to(state.dtype) for state, weight in zip(levels, self.weights, strict=True)
        ]
        return self.linear(torch.cat(weighted, dim=-1))


class CrossAttention(nn.Module):
    """Visual tokens ask, all text positions answer, start, end and padding among them; no mask."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def project(self, hidden: Tensor, words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query ``(B, heads, L, W / heads)``, key and value ``(B, heads, T, W / heads)``."""
        parts = (self.q_proj(hidden), self.k_proj(words), self.v_proj(words))
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return query, key, value

    def forward(self, hidden: Tensor, words: Tensor) -> Tensor:
        """``hidden (B, L, W)`` read ``words (B, T, W)``: ``(B, L, W)``."""
        mixed = F.scaled_dot_product_attention(*self.project(hidden, words))
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class QuickPerceptron(nn.Module):
    """Linear, quick-GELU ``x * sigmoid(1.702 x)``, linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.activation = QuickGELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, states: Tensor) -> Tensor:
        """``(..., width)`` → ``(..., width)``."""
        return self.fc2(self.activation(self.fc1(states)))


def _weight_shape(shape: WeightShape, positions: int, channels: int) -> tuple[int, int]:
    per_token, per_channel = shape in ("full", "token"), shape in ("full", "channel")
    return positions if per_token else 1, channels if per_channel else 1


def _check(
    blocks: Sequence[int],
    depth: int,
    text_levels: Sequence[int],
    weight_shape: str | None,
    source: str,
    layer_to_layer: bool,
) -> None:
    if not blocks or not all(0 <= block < depth for block in blocks) or len(set(blocks)) < len(blocks):
        raise ValueError(f"bridge blocks {list(blocks)}: expected different numbers from 0 to {depth - 1}")
    if weight_shape is not None and weight_shape not in WEIGHT_SHAPES:
        raise ValueError(f"weight_shape={weight_shape!r}; expected None or one of {', '.join(WEIGHT_SHAPES)}")
    if source not in ("levels", "projected"):
        raise ValueError(f"source={source!r}; expected 'levels' or 'projected'")
    if source == "levels" and not text_levels:
        raise ValueError("bridges that read levels of the text tower need text_levels")
    if layer_to_layer and len(text_levels) != len(blocks):
        raise ValueError(
            f"layer_to_layer needs one text level per bridge, not {len(text_levels)} for {len(blocks)}"
        )
