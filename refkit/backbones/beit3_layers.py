"""The multiway transformer of BEiT-3: two sets of parameters, one attention.

Wang et al., "Image as a Foreign Language: BEiT Pretraining for Vision and Vision-Language Tasks", CVPR 2023.
Names of parameters are those of the published files; branch ``A`` is vision, ``B`` is text.

Notation: ``B`` batch, ``V`` visual tokens (class token first), ``T`` text tokens, ``L = V + T``, ``C`` width.
The two branches travel as a pair ``(visual (B, V, C), text (B, T, C))`` and meet in the attention only, so
nothing but queries, keys and values is ever put together or cut apart.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.layers import DropPath, build_sincos2d_pos_embed, trunc_normal_
from torch import Tensor, nn

from refkit.backbones.beit3_sizes import POSITION_OFFSET, BEiT3Size
from refkit.backbones.beit3_weights import resize_positions

Pair = tuple[Tensor, Tensor]
_TEMPERATURE = 100.0


class Multiway(nn.ModuleDict):
    """A module twice: ``A`` for the visual tokens, ``B`` for the words."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__({"A": make(), "B": make()})

    def forward(self, states: Pair) -> Pair:
        """Each branch through its own."""
        visual, text = states
        return self["A"](visual), self["B"](text)


class MultiwayAttention(nn.Module):
    """Attention over both modalities, with a norm between the heads and the output projection (sub-LN)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = Multiway(lambda: nn.Linear(width, width))
        self.v_proj = Multiway(lambda: nn.Linear(width, width))
        self.q_proj = Multiway(lambda: nn.Linear(width, width))
        self.out_proj = Multiway(lambda: nn.Linear(width, width))
        self.inner_attn_ln = Multiway(lambda: nn.LayerNorm(width))

    def forward(self, states: Pair, key_mask: Tensor | None) -> Pair:
        """Normalised states in, what is to be added out; ``key_mask (B, 1, 1, L)`` bool, False = masked."""
        query, key, value = (self._split(proj(states)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=key_mask)
        mixed = mixed.transpose(1, 2).flatten(2)
        split = states[0].shape[1]
        return self.out_proj(self.inner_attn_ln((mixed[:, :split], mixed[:, split:])))

    def map(self, states: Pair, key_mask: Tensor | None) -> Tensor:
        """The softmax map ``(B, heads, L, L)`` that `forward` uses but never holds."""
        query, key = self._split(self.q_proj(states)), self._split(self.k_proj(states))
        scores = query.float() @ key.float().transpose(-1, -2) * query.shape[-1] ** -0.5
        return (scores if key_mask is None else scores.masked_fill(~key_mask, -torch.inf)).softmax(dim=-1)

    def _split(self, states: Pair) -> Tensor:
        joined = torch.cat(states, dim=1)
        return joined.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """``W2 LN(GELU(W1 x + b1)) + b2`` with the exact GELU (computed in float32 for half types too)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)
        self.ffn_layernorm = nn.LayerNorm(inner)

    def forward(self, states: Tensor) -> Tensor:
        """``(..., C)`` to the same shape."""
        return self.fc2(self.ffn_layernorm(F.gelu(self.fc1(states))))


class MultiwayBlock(nn.Module):
    """Pre-norm attention and perceptron, each with a residual.

    Args:
        size: of the transformer.
        drop_path: probability that a sample skips the branch while training.
    """

    def __init__(self, size: BEiT3Size, drop_path: float) -> None:
        super().__init__()
        self.self_attn = MultiwayAttention(size.width, size.heads)
        self.self_attn_layer_norm = Multiway(lambda: nn.LayerNorm(size.width))
        self.ffn = Multiway(lambda: FeedForward(size.width, size.feedforward))
        self.final_layer_norm = Multiway(lambda: nn.LayerNorm(size.width))
        self.drop_path = DropPath(drop_path)

    def forward(self, visual: Tensor, text: Tensor, key_mask: Tensor | None) -> Pair:
        """States of both branches after this block."""
        states = visual, text
        states = self._add(states, self.self_attn(self.self_attn_layer_norm(states), key_mask))
        return self._add(states, self.ffn(self.final_layer_norm(states)))

    def attention_map(self, states: Pair, key_mask: Tensor | None) -> Tensor:
        """Softmax map ``(B, heads, L, L)`` of this block for its input."""
        return self.self_attn.map(self.self_attn_layer_norm(states), key_mask)

    def _add(self, states: Pair, change: Pair) -> Pair:
        if not self.training or not self.drop_path.drop_prob:
            return states[0] + change[0], states[1] + change[1]
        # One draw per sample for picture and words together: they are one sequence.
        kept = self.drop_path(change[0].new_ones(len(change[0]), 1, 1))
        return states[0] + kept * change[0], states[1] + kept * change[1]


class VisionEmbedding(nn.Module):
    """Patches of a picture as tokens, class token first; positions are added by `Encoder`."""

    def __init__(self, size: BEiT3Size) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.proj = nn.Conv2d(3, size.width, size.patch_size, stride=size.patch_size)

    def forward(self, images: Tensor, patch_masked: Tensor | None) -> Tensor:
        """Tokens ``(B, 1 + N, C)``; where ``patch_masked (B, N)`` is True, the patch is not looked at."""
        patches = self.proj(images).flatten(2).transpose(1, 2)
        if patch_masked is not None:
            patches = torch.where(patch_masked[..., None], self.mask_token.to(patches.dtype), patches)
        return torch.cat((self.cls_token.expand(len(images), -1, -1), patches), dim=1)


class Encoder(nn.Module):
    """Position tables, blocks and the norm after the last block.

    Args:
        size: of the transformer.
        drop_path: probability in the last block; it grows linearly from 0 in the first.
    """

    def __init__(self, size: BEiT3Size, drop_path: float) -> None:
        super().__init__()
        rows, columns = size.grid
        self.embed_positions = nn.ModuleDict(
            {
                "A": nn.Embedding(POSITION_OFFSET + 1 + rows * columns, size.width),
                "B": nn.Embedding(size.text_positions, size.width),
            }
        )
        last = max(size.layers - 1, 1)
        self.layers = nn.ModuleList(
            MultiwayBlock(size, drop_path * index / last) for index in range(size.layers)
        )
        self.layer_norm = Multiway(lambda: nn.LayerNorm(size.width))

    def visual_positions(self, grid: tuple[int, int]) -> Tensor:
        """``(1 + N, C)`` for the class token and the patches of ``grid``."""
        return resize_positions(self._table("A"), grid)[POSITION_OFFSET:]

    def text_positions(self, length: int) -> Tensor:
        """``(T, C)``; they do not depend on padding."""
        return self._table("B")[POSITION_OFFSET : POSITION_OFFSET + length]

    def _table(self, branch: str) -> Tensor:
        table: nn.Embedding = self.embed_positions[branch]  # type: ignore[assignment]
        return table.weight


class BEiT3(nn.Module):
    """All parameters of a published BEiT-3 but its pre-training heads.

    Args:
        size: of the transformer.
        drop_path: probability in the last block.
    """

    def __init__(self, size: BEiT3Size, drop_path: float) -> None:
        super().__init__()
        self.size = size
        self.text_embed = nn.Embedding(size.vocab_size, size.width)
        self.vision_embed = VisionEmbedding(size)
        self.encoder = Encoder(size, drop_path)
        for module in self.modules():
            # As BEiT-3's wrapper does: it overrides the gains that sub-LN asks of linear layers.
            if isinstance(module, nn.Linear):
                truncated_linear(module, size.linear_std)
        nn.init.normal_(self.text_embed.weight, std=size.width**-0.5)
        for table in self.encoder.embed_positions.values():
            nn.init.normal_(table.weight, std=size.position_std)  # type: ignore[arg-type]
        if size.smooth_positions:
            smooth_positions(self.encoder.visual_positions(size.grid)[1:], size)

    def embed(
        self, images: Tensor, token_ids: Tensor, text_mask: Tensor, patch_masked: Tensor | None
    ) -> Pair:
        """What enters the first block: tokens and positions, zero where the text is padded."""
        patch = self.size.patch_size
        grid = images.shape[-2] // patch, images.shape[-1] // patch
        visual = self.vision_embed(images, patch_masked) + self.encoder.visual_positions(grid)
        text = self.text_embed(token_ids) + self.encoder.text_positions(token_ids.shape[1])
        return visual, text * text_mask[..., None].to(text.dtype)


@torch.no_grad()
def smooth_positions(table: Tensor, size: BEiT3Size) -> None:
    """Fill ``table (N, C)`` with sines and cosines of row and column; the longest wave is many grids long."""
    waves = build_sincos2d_pos_embed(list(size.grid), size.width, temperature=_TEMPERATURE)
    table.copy_(waves * (size.position_std / waves.std()))


def truncated_linear(layer: nn.Linear, std: float) -> None:
    """N(0, std) cut at one deviation, no bias: how every linear layer of BEiT-3 and its heads begins."""
    # torch's own draws again until all values fit, which takes 27 times as long (15 s for the base size).
    trunc_normal_(layer.weight, std=std, a=-std, b=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


@torch.no_grad()
def widen_modality_gap(model: BEiT3, gap: float) -> None:
    """Make words look at words before patches; patches look at both as before.

    Queries of words and keys of either branch move ``gap`` along one direction: a word's logits grow by
    ``gap**2 / sqrt(head width)`` for words and fall by as much for patches. For branches that were trained
    alone: together, patches outnumber the words and their untrained cross-attention drowns them. What words
    need from the picture is learnt from there.
    """
    for block in model.encoder.layers:
        attention: MultiwayAttention = block.self_attn  # type: ignore[assignment]
        moved = ((attention.q_proj, "B", -1), (attention.k_proj, "A", 1), (attention.k_proj, "B", -1))
        for projection, branch, sign in moved:
            linear: nn.Linear = projection[branch]  # type: ignore[assignment]
            width = linear.out_features // attention.heads
            linear.bias.add_(sign * gap * width**-0.5)
