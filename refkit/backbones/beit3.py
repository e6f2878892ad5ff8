"""BEiT-3: one transformer for picture and words, `Features` out.

OneRef (Xiao et al., NeurIPS 2024) reads everything from it: patches, words, and their cosines in a shared
space. Notation: ``B`` batch, ``N`` patches, ``T`` text positions, ``C`` width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from refkit.backbones.beit3_layers import BEiT3, Pair, truncated_linear, widen_modality_gap
from refkit.backbones.beit3_sizes import BEiT3Size, beit3_size
from refkit.backbones.beit3_weights import load_backbone
from refkit.backbones.inputs import InputError, check_inputs
from refkit.backbones.padding import image_tokens
from refkit.registry import MODELS
from refkit.structures import Features, FeatureSizes

_SCALE = math.log(1 / 0.07)
_FROM_PICTURE = frozenset(("image", "similarity", "visual_aligned"))
_FROM_WORDS = frozenset(("sentence", "similarity", "text_aligned"))


@MODELS.register_module()
class BEiT3Backbone(nn.Module):
    """BEiT-3 with the two projections in which OneRef compares patches and words.

    Args:
        size: ``base``, ``large``, or numbers (see `BEiT3Size`).
        image_size: another square input in pixels than the size's; positions are resized when weights load.
        visual_levels: hidden states to hand out, 0 = embeddings, ``i`` = output of block ``i``, before the
            final norm; by default the last.
        text_levels: the same for the words.
        projections: with ``language_head``, ``vision_head`` and the temperature; without them ``image``,
            ``sentence``, ``similarity`` and both ``aligned`` fields stay empty.
        drop_path: probability in the last block that a sample skips it while training; linear over depth.
        checkpointing: recompute every block on the way back instead of keeping what is inside it.
        pad_id: id of padding where the inputs have no ``token_padding``.
        weights: None (random) or a file, see `load_backbone`.
        modality_gap: after that, make words look at words before patches, see `widen_modality_gap`; 0 =
            leave the weights as they are. Not in OneRef.
    """

    def __init__(
        self,
        size: str | Mapping[str, Any] | BEiT3Size = "base",
        image_size: int | None = None,
        visual_levels: Sequence[int] | None = None,
        text_levels: Sequence[int] = (),
        projections: bool = True,
        drop_path: float = 0.1,
        checkpointing: bool = False,
        pad_id: int = 1,
        weights: str | Path | None = None,
        modality_gap: float = 0.0,
    ) -> None:
        super().__init__()
        self.size = beit3_size(size, image_size)
        self.visual_levels = _checked(visual_levels or (self.size.layers,), self.size, "visual_levels")
        self.text_levels = _checked(text_levels, self.size, "text_levels")
        self.checkpointing = checkpointing
        self.pad_id = pad_id
        self.projections = projections
        if projections:
            self.logit_scale = nn.Parameter(torch.tensor(_SCALE))
        self.beit3 = BEiT3(self.size, drop_path)
        if projections:
            self.language_head = nn.Linear(self.size.width, self.size.width, bias=False)
            self.vision_head = nn.Linear(self.size.width, self.size.width, bias=False)
            truncated_linear(self.language_head, self.size.linear_std)
            truncated_linear(self.vision_head, self.size.linear_std)
        if weights is not None:
            load_backbone(self, weights, self.size.grid)
        if modality_gap:
            widen_modality_gap(self.beit3, modality_gap)

    @property
    def feature_sizes(self) -> FeatureSizes:
        """Sizes of what `forward` returns."""
        return FeatureSizes(
            levels=(self.size.width,) * len(self.visual_levels),
            text=self.size.width,
            grid=self.size.grid,
            prefix_tokens=1,
            context_length=self.size.context_length,
        )

    @property
    def scale(self) -> Tensor:
        """Factor of the contrastive logits, ``exp(logit_scale)``."""
        return self.logit_scale.exp()

    def train_for(self, fields: Iterable[str], masking: bool = False) -> None:
        """Freeze what no loss can reach: what none of these fields of `Features` comes from.

        Args:
            fields: names that the heads need.
            masking: patches will be masked in training, so the mask token learns.
        """
        wanted = set(fields)
        self.beit3.vision_embed.mask_token.requires_grad_(masking)
        if self.projections:
            self.vision_head.requires_grad_(not wanted.isdisjoint(_FROM_PICTURE))
            self.language_head.requires_grad_(not wanted.isdisjoint(_FROM_WORDS))
            self.logit_scale.requires_grad_("contrast_scale" in wanted)

    def forward(self, inputs: Mapping[str, Tensor], attention: bool = False) -> Features:
        """Picture and words through all blocks.

        Args:
            inputs: ``images (B, 3, H, W)`` float, normalised; ``token_ids (B, T)`` int64; optionally
                ``token_padding (B, T)``, True = padding; ``patch_masked (B, N)`` bool, True = the patch is
                hidden; ``padding (B, H, W)``, True = padded pixel, for ``visual_mask`` only: BEiT-3 looks at
                the padding, as published; and ``image_index (B,)`` int64 where sentences share an image.
            attention: also return ``attention["beit3.<i>"] (B, heads, L, L)``, ``L = 1 + N + T``.

        Returns:
            ``visual (B, N, C)`` and ``text (B, T, C)`` after the final norm, ``query`` the first word token;
            and as unit vectors in the shared space ``visual_aligned``, ``text_aligned``, ``image`` (class
            token), ``sentence`` (first word token), with ``similarity`` the cosine of ``sentence`` and every
            patch, all float32.

        Raises:
            InputError: inputs that do not fit each other or the model.
        """
        maps: dict[str, Tensor] = {}
        levels, (visual, text), text_mask = self.encode(inputs, maps if attention else None)
        height, width = (side // self.size.patch_size for side in inputs["images"].shape[-2:])
        return Features(
            visual=visual[:, 1:],
            visual_mask=image_tokens(inputs, visual, (height, width)),
            grid=(height, width),
            text=text,
            text_mask=text_mask,
            text_end=text_mask.sum(dim=1) - 1,
            query=text[:, 0],
            levels=tuple(levels[level][0] for level in self.visual_levels),
            prefix_tokens=1,
            text_levels=tuple(levels[level][1] for level in self.text_levels) or None,
            attention=maps,
            **(self._aligned(visual, text) if self.projections else {}),
        )

    def encode(
        self, inputs: Mapping[str, Tensor], maps: dict[str, Tensor] | None = None
    ) -> tuple[dict[int, Pair], Pair, Tensor]:
        """The transformer alone.

        Args:
            inputs: see `forward`.
            maps: is filled with attention maps, if given.

        Returns:
            Pairs ``(visual (B, 1 + N, C), text (B, T, C))`` of every level asked for; the pair after the
            final norm; ``text_mask (B, T)`` bool, True = a real token.
        """
        text_mask, key_mask = self._masks(inputs)
        images, index = inputs["images"], inputs.get("image_index")
        if index is not None:
            images = images[index]
        states = self.beit3.embed(images, inputs["token_ids"], text_mask, self._patch_masked(inputs))
        wanted = {*self.visual_levels, *self.text_levels}
        levels = {0: states} if 0 in wanted else {}
        for level, block in enumerate(self.beit3.encoder.layers, start=1):
            if maps is not None:
                maps[f"beit3.{level - 1}"] = block.attention_map(states, key_mask)  # type: ignore[operator]
            states = self._through(block, states, key_mask)
            if level in wanted:
                levels[level] = states
        return levels, self.beit3.encoder.layer_norm(states), text_mask

    def see(self, images: Tensor) -> Tensor:
        """Pictures ``(B, 3, H, W)`` without words: unit ``(B, 1 + N, C)`` of class token and patches."""
        none = torch.zeros(len(images), 0, dtype=torch.int64, device=images.device)
        visual, _ = self._alone(self.beit3.embed(images, none, none.bool(), None), None)
        return _unit(self.vision_head, visual)

    def read(self, token_ids: Tensor, text_mask: Tensor) -> Tensor:
        """Words ``(B, T)`` without a picture: unit vectors ``(B, T, C)``; ``text_mask`` True = a token."""
        text = self.beit3.text_embed(token_ids) + self.beit3.encoder.text_positions(token_ids.shape[1])
        text = text * text_mask[..., None].to(text.dtype)
        _, text = self._alone((text[:, :0], text), text_mask[:, None, None])
        return _unit(self.language_head, text)

    def _alone(self, states: Pair, key_mask: Tensor | None) -> Pair:
        """All blocks and the last norm, for a pair with one empty branch."""
        for block in self.beit3.encoder.layers:
            states = self._through(block, states, key_mask)
        normed: Pair = self.beit3.encoder.layer_norm(states)
        return normed

    def _through(self, block: nn.Module, states: Pair, key_mask: Tensor | None) -> Pair:
        if self.checkpointing and torch.is_grad_enabled():
            recomputed: Pair = checkpoint(block, *states, key_mask, use_reentrant=False)
            return recomputed
        result: Pair = block(*states, key_mask)
        return result

    def _masks(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Real tokens ``(B, T)``, and the keys that attention may look at, None where all of them."""
        check_inputs(inputs, self.size.patch_size, self.size.context_length)
        token_ids, padding = inputs["token_ids"], inputs.get("token_padding")
        if padding is not None and padding.shape != token_ids.shape:
            raise InputError(
                f"token_padding: expected {tuple(token_ids.shape)} like token_ids, got {tuple(padding.shape)}"
            )
        text_mask = token_ids != self.pad_id if padding is None else ~padding.bool()
        facts = torch.stack((text_mask.sum(dim=1).min(), token_ids.min(), token_ids.max()))
        fewest, lowest, highest = facts.tolist()  # the only wait for an accelerator
        if not fewest:
            empty = (~text_mask.any(dim=1)).nonzero().flatten().tolist()
            raise InputError(f"the texts of rows {empty} of the batch have no tokens, only padding")
        if lowest < 0 or highest >= self.size.vocab_size:
            raise InputError(
                f"token_ids run from {lowest} to {highest}, the model has {self.size.vocab_size} rows: it "
                "belongs to another tokenizer"
            )
        if fewest == token_ids.shape[1]:
            return text_mask, None
        patches = math.prod(side // self.size.patch_size for side in inputs["images"].shape[-2:])
        return text_mask, F.pad(text_mask, (1 + patches, 0), value=True)[:, None, None]

    def _patch_masked(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        masked = inputs.get("patch_masked")
        patches = math.prod(side // self.size.patch_size for side in inputs["images"].shape[-2:])
        if masked is not None and masked.shape != (len(inputs["token_ids"]), patches):
            raise InputError(
                f"patch_masked: expected {(len(inputs['token_ids']), patches)}, got {tuple(masked.shape)}"
            )
        return None if masked is None else masked.bool()

    def _aligned(self, visual: Tensor, text: Tensor) -> dict[str, Tensor]:
        """Everything that is compared by cosine, in float32 whatever the precision around it."""
        seen, said = _unit(self.vision_head, visual), _unit(self.language_head, text)
        with torch.autocast(visual.device.type, enabled=False):
            similarity = torch.einsum("bc,bnc->bn", said[:, 0], seen[:, 1:])
        return {
            "image": seen[:, 0],
            "sentence": said[:, 0],
            "visual_aligned": seen[:, 1:],
            "text_aligned": said,
            "similarity": similarity,
            "contrast_scale": self.scale,
        }


def _unit(head: Any, tokens: Tensor) -> Tensor:
    """``normalize(head(tokens))`` in float32."""
    with torch.autocast(tokens.device.type, enabled=False):
        return F.normalize(head(tokens.to(head.weight.dtype)).float(), dim=-1)


def _checked(levels: Sequence[int], size: BEiT3Size, name: str) -> tuple[int, ...]:
    if wrong := [level for level in levels if not 0 <= level <= size.layers]:
        raise ValueError(
            f"{name}={wrong}: expected numbers from 0 (embeddings) to {size.layers} (the last block)"
        )
    return tuple(levels)
