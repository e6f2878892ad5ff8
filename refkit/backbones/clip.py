"""CLIP's two towers: pictures and token ids in, `Features` out.

Notation: ``B`` batch, ``N`` patches, ``T`` text positions, ``Wv``, ``Wt`` widths of the towers, ``D`` shared
width. Parameters live in transformers' ``CLIPModel`` (so every published CLIP fits); the walk over its
blocks is ours, because it taps single levels and never materialises attention maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPModel
from transformers.activations import QuickGELUActivation

from refkit.backbones.activation import QuickGELU
from refkit.backbones.bridge import CrossModalBridge, bridged
from refkit.backbones.clip_sizes import CLIPSize, clip_size
from refkit.backbones.clip_weights import clip_weights, fit_positions, published_activation, resize_positions
from refkit.backbones.inputs import check_inputs
from refkit.backbones.padding import image_tokens
from refkit.backbones.state import load_strictly
from refkit.registry import MODELS
from refkit.structures import Features, FeatureSizes


@MODELS.register_module()
class CLIPBackbone(nn.Module):
    """CLIP with per-level taps and, where asked for, bridges from the words into the vision tower.

    Args:
        size: numbers (see `CLIPSize`), or the name of a published model (open_clip's or transformers').
        visual_levels: hidden states to hand out, 0 = embeddings, ``i`` = output of block ``i``; by default
            the last. Blocks above the highest one are neither run nor trained unless ``pooled``.
        text_levels: the same for the text tower; all of them are taken before its final norm.
        similarity: also compute ``Features.similarity``, patch by patch in CLIP's shared space.
        pooled: also compute ``Features.image``; without it, what only that needs is frozen.
        bridge: config of a `CrossModalBridge`; its sizes are this CLIP's.
        weights: None (random), a file, a transformers name or an open_clip tag.
        image_size: another square input in pixels; positions are resized bicubically.
    """

    def __init__(
        self,
        size: str | Mapping[str, Any] | CLIPSize,
        visual_levels: Sequence[int] | None = None,
        text_levels: Sequence[int] = (),
        pooled: bool = False,
        similarity: bool = False,
        bridge: Mapping[str, Any] | None = None,
        weights: str | Path | None = None,
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        self.size = _resolve(size, weights, image_size)
        self.visual_levels = _checked_levels(visual_levels, self.size.vision.layers, "visual_levels")
        self.text_levels = tuple(text_levels) and _checked_levels(
            text_levels, self.size.text.layers, "text_levels"
        )
        self.pooled = pooled
        self.similarity = similarity
        state = None if weights is None else clip_weights(size if isinstance(size, str) else "", weights)
        self.clip = CLIPModel(self.size.to_config())
        _keep_less(self.clip)
        self.depth = self.size.vision.layers if pooled else max(self.visual_levels)
        if state is not None:
            load_strictly(self.clip, fit_positions(state, self.size.grid), str(weights))
        self._freeze_unused()
        self.bridges = None if bridge is None else self._build_bridges(bridge)
        self.bridging = self.bridges is not None

    @classmethod
    def from_name(cls, name: str, weights: str | Path | None = None, **options: Any) -> CLIPBackbone:
        """A published size by name, with random or published weights; ``options`` as for the class."""
        return cls(name, weights=weights, **options)

    @property
    def feature_sizes(self) -> FeatureSizes:
        """Sizes of what `forward` returns."""
        return FeatureSizes(
            levels=(self.size.vision.width,) * len(self.visual_levels),
            text=self.size.embed,
            grid=self.size.grid,
            prefix_tokens=1,
            context_length=self.size.context_length,
        )

    @property
    def _handed_out(self) -> set[int]:
        return {*self.visual_levels, self.depth}

    @property
    def visual_projection(self) -> Tensor:
        """``(D, Wv)``: CLIP's map from vision width to the shared space."""
        return self.clip.visual_projection.weight

    @property
    def scale(self) -> Tensor:
        """Factor of the contrastive logits, ``exp(logit_scale)``."""
        return self.clip.logit_scale.exp()

    def forward(self, inputs: Mapping[str, Tensor], attention: bool = False) -> Features:
        """Both towers.

        Args:
            inputs: ``images (B, 3, H, W)`` float, normalised; ``token_ids (B, T)`` int64, 0 = padding;
                optionally ``padding (B, H, W)``, True = padded pixel (CLIP itself looks at the padding; what
                follows may not); and ``image_index (B,)`` int64 where several sentences share an image, of
                which there are then fewer than ``B``. Such an image goes through the tower once, unless words
                enter it.
            attention: also return softmax maps, ``attention["vision.<i>"] (B, heads, 1 + N, 1 + N)`` of
                block ``i`` and ``attention["bridge.<i>"] (B, heads, 1 + N, T)`` of its bridge.

        Returns:
            ``visual (B, N, Wv)`` patches of the highest level run, ``levels`` with the class token first,
            ``text (B, T, D)`` projected words, ``query (B, D)`` the projected end-of-text token,
            ``image (B, D)`` if pooled.

        Raises:
            InputError: inputs that do not fit each other or the towers.
        """
        check_inputs(inputs, self.size.patch_size, self.size.context_length)
        text_states, text, text_end = self.encode_text(inputs["token_ids"])
        maps: dict[str, Tensor] = {}
        words = self.bridges.words(text_states, text) if self.bridges and self.bridging else {}
        images, index = inputs["images"], inputs.get("image_index")
        if index is not None and words:
            images, index = images[index], None
        states, grid = self._vision_states(images, words, maps if attention else None)
        if index is not None:
            states = {level: state[index] for level, state in states.items() if level in self._handed_out}
            maps = {name: found[index] for name, found in maps.items()}
        last = states[self.depth]
        query = text[torch.arange(len(text), device=text.device), text_end]
        return Features(
            visual=last[:, 1:],
            visual_mask=image_tokens(inputs, last, grid),
            grid=grid,
            text=text,
            text_mask=inputs["token_ids"] != 0,
            text_end=text_end,
            query=query,
            similarity=self._patch_similarity(last[:, 1:], query) if self.similarity else None,
            image=self.project_visual(last[:, 0]) if self.pooled else None,
            sentence=query,
            contrast_scale=self.scale,
            levels=tuple(states[level] for level in self.visual_levels),
            prefix_tokens=1,
            text_levels=tuple(text_states[level] for level in self.text_levels) or None,
            attention=maps,
        )

    def encode_text(self, token_ids: Tensor) -> tuple[dict[int, Tensor], Tensor, Tensor]:
        """The text tower on ``token_ids (B, T)``.

        The tower is causal and has no padding mask, so leaving out trailing padding changes no other
        position.

        Returns:
            Hidden states ``(B, T, Wt)`` of the levels asked for, also by bridges, before the final norm;
            projected words ``(B, T, D)``; index ``(B,)`` of the end-of-text token, the first position of
            the largest id.
        """
        tower = self.clip.text_model
        states: dict[int, Tensor] = {}
        wanted = {*self.text_levels, *(self.bridges.text_levels if self.bridges else ())}
        hidden = tower.embeddings(input_ids=token_ids)
        for level, block in enumerate((None, *tower.encoder.layers)):
            hidden = hidden if block is None else block(hidden, None, is_causal=True)
            if level in wanted:
                states[level] = hidden
        words = self.clip.text_projection(tower.final_layer_norm(hidden))
        return states, words, token_ids.argmax(dim=-1)

    def project_visual(self, tokens: Tensor) -> Tensor:
        """Class or patch tokens ``(..., Wv)`` of the last block in the shared space ``(..., D)``."""
        return self.clip.visual_projection(self.clip.vision_model.post_layernorm(tokens))

    def _patch_similarity(self, patches: Tensor, query: Tensor) -> Tensor:
        projected = F.normalize(self.project_visual(patches).float(), dim=-1)
        return torch.einsum("bnd,bd->bn", projected, F.normalize(query.float(), dim=-1))

    def _vision_states(
        self, images: Tensor, words: Mapping[int, Tensor], maps: dict[str, Tensor] | None
    ) -> tuple[dict[int, Tensor], tuple[int, int]]:
        tower = self.clip.vision_model
        hidden, grid = self._embed(images)
        states = {0: hidden}
        for level, block in enumerate(tower.encoder.layers[: self.depth], start=1):
            if maps is not None:
                maps[f"vision.{level - 1}"] = _attention_map(block, hidden)
            hidden = self._through(level - 1, block, hidden, words, maps)
            if level in self.visual_levels or level == self.depth:
                states[level] = hidden
        return states, grid

    def _through(
        self,
        index: int,
        block: nn.Module,
        hidden: Tensor,
        words: Mapping[int, Tensor],
        maps: dict[str, Tensor] | None,
    ) -> Tensor:
        """Block ``index``, with its bridge where it has one and words are at hand."""
        if index not in words:
            return block(hidden, None)
        bridges: Any = self.bridges

        def bridge(states: Tensor) -> Tensor:
            if maps is not None:
                maps[f"bridge.{index}"] = bridges.attention_map(index, states, words[index])
            return bridges(index, states, words[index])

        return bridged(block, bridge, hidden)

    def _build_bridges(self, bridge: Mapping[str, Any]) -> CrossModalBridge:
        size = self.size
        bridges: CrossModalBridge = MODELS.build(
            {
                "width": size.vision.width,
                "heads": size.vision.heads,
                "text_width": size.text.width,
                "embed": size.embed,
                "context_length": size.context_length,
                "depth": self.depth,
                **bridge,
            }
        )
        _checked_levels(bridges.text_levels or None, size.text.layers, "text_levels of the bridge")
        return bridges

    def _embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        embeddings, patch = self.clip.vision_model.embeddings, self.size.patch_size
        grid = images.shape[-2] // patch, images.shape[-1] // patch
        patches = embeddings.patch_embedding(images).flatten(2).transpose(1, 2)
        class_token = embeddings.class_embedding.to(patches.dtype).expand(len(images), 1, -1)
        positions = resize_positions(embeddings.position_embedding.weight, grid)
        tokens = torch.cat((class_token, patches), dim=1) + positions
        return self.clip.vision_model.pre_layrnorm(tokens), grid

    def _freeze_unused(self) -> None:
        unused: list[nn.Module] = []
        if not self.pooled:
            unused += list(self.clip.vision_model.encoder.layers[self.depth :])
            self.clip.logit_scale.requires_grad_(False)
        if not (self.pooled or self.similarity):
            unused += [self.clip.vision_model.post_layernorm, self.clip.visual_projection]
        for module in unused:
            module.requires_grad_(False)


def _keep_less(clip: CLIPModel) -> None:
    """The activation of every block by one that keeps fewer tensors for the way back."""
    for block in (*clip.vision_model.encoder.layers, *clip.text_model.encoder.layers):
        if isinstance(block.mlp.activation_fn, QuickGELUActivation):
            block.mlp.activation_fn = QuickGELU()


def _resolve(
    size: str | Mapping[str, Any] | CLIPSize, weights: str | Path | None, image_size: int | None
) -> CLIPSize:
    resolved = clip_size(size)
    if isinstance(size, str) and weights is not None:
        resolved = replace(resolved, activation=published_activation(size, weights) or resolved.activation)
    return resolved if image_size is None else replace(resolved, image_size=image_size)


def _checked_levels(levels: Sequence[int] | None, layers: int, name: str) -> tuple[int, ...]:
    levels = (layers,) if levels is None else tuple(levels)
    wrong = [level for level in levels if not 0 <= level <= layers]
    if wrong or not levels:
        raise ValueError(
            f"{name}={list(levels)}: expected numbers from 0 (embeddings) to {layers} (the last block)"
        )
    return levels


def _attention_map(block: Any, hidden: Tensor) -> Tensor:
    """Softmax map ``(B, heads, L, L)`` of a block for its input, computed beside the fused attention."""
    attention = block.self_attn
    states = block.layer_norm1(hidden)
    shape = (*states.shape[:2], attention.num_heads, -1)
    query = attention.q_proj(states).view(shape).transpose(1, 2)
    key = attention.k_proj(states).view(shape).transpose(1, 2)
    return (query @ key.transpose(-1, -2) * attention.scale).softmax(dim=-1)
