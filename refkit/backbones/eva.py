"""EVA ViT-g and other vision towers that hand over plain tokens: views in, class token and patches out.

A tower is a module with ``width``, ``patch_size`` and ``image_size``; its `forward` maps
``views (M, 3, S, S)``, normalised floats, to tokens ``(M, 1 + N, width)`` float, class token first, patches
row-major, as the last block that is kept leaves them: without a final norm, which `RegionEncoder` brings
(DynRefer, section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from timm.layers import resample_abs_pos_embed
from timm.models.eva import Eva
from torch import Tensor, nn
from transformers import CLIPVisionModel

from refkit.backbones.activation import QuickGELU
from refkit.backbones.beit3 import BEiT3Backbone
from refkit.backbones.clip_sizes import CLIPSize, clip_size
from refkit.backbones.clip_weights import clip_weights, fit_positions
from refkit.backbones.state import load_strictly, locate, read_state_dict
from refkit.registry import MODELS

_VISION = "vision_model."
_NOT_KEPT = ("norm.*", "fc_norm.*", "head.*", "mask_token", "*.k_bias", "rope.*")


class TowerError(ValueError):
    """A vision tower that cannot be built as asked for, and what to ask for instead."""


@MODELS.register_module()
class EVATower(nn.Module):
    """EVA ViT-g without its last block, timm's ``Eva`` inside; parameters have their published names.

    Args:
        width, layers, heads, feedforward, patch_size: sizes; those of EVA ViT-g unless given. ``layers``
            counts the blocks that are kept: 39 of 40 (BLIP-2 and DynRefer read the last but one).
        image_size: side of the views in pixels.
        weights: None (random) or a file in EVA's, LAVIS' or timm's layout; further blocks in it, and what
            follows them, are passed over, and positions are resized.
    """

    def __init__(
        self,
        width: int = 1408,
        layers: int = 39,
        heads: int = 16,
        feedforward: int = 6144,
        patch_size: int = 14,
        image_size: int = 224,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.width, self.patch_size, self.image_size = width, patch_size, image_size
        self.eva = Eva(
            img_size=image_size,
            patch_size=patch_size,
            embed_dim=width,
            depth=layers,
            num_heads=heads,
            mlp_ratio=feedforward / width,
            num_classes=0,
            global_pool="",
            use_post_transformer_norm=False,
        )
        if weights is not None:
            state = eva_state(read_state_dict(locate(weights)), layers, image_size // patch_size)
            load_strictly(self.eva, state, str(weights), allow_unexpected=_NOT_KEPT)

    def forward(self, views: Tensor) -> Tensor:
        """Tokens ``(M, 1 + N, width)`` of ``views (M, 3, S, S)``."""
        tokens: Tensor = self.eva.forward_features(views)
        return tokens


def eva_state(state: Mapping[str, Tensor], layers: int, side: int) -> dict[str, Tensor]:
    """Tensors of the first ``layers`` blocks, their positions resized to ``side`` x ``side`` patches.

    LAVIS resizes them bicubically, corners not aligned; so does this.
    """
    named = {name.removeprefix("visual_encoder.").removeprefix("visual."): v for name, v in state.items()}
    kept = {
        name: value
        for name, value in named.items()
        if not name.startswith("blocks.") or int(name.split(".")[1]) < layers
    }
    if "pos_embed" in kept and kept["pos_embed"].shape[1] != side * side + 1:
        kept["pos_embed"] = resample_abs_pos_embed(
            kept["pos_embed"].float(), new_size=[side, side], antialias=False
        )
    return kept


@MODELS.register_module()
class CLIPTower(nn.Module):
    """The vision half of a CLIP without its last blocks, transformers' ``CLIPVisionModel`` inside.

    Args:
        size: numbers, or the name of a published CLIP, see `clip_size`; its text half is not built.
        layers: blocks that are kept; by default the size's. DynRefer keeps 21 of ViT-L/14's 24.
        image_size: side of the views in pixels; the size's unless given.
        weights: None (random), a file, a transformers name or an open_clip tag.
    """

    def __init__(
        self,
        size: str | Mapping[str, Any] | CLIPSize,
        layers: int | None = None,
        image_size: int | None = None,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.size = clip_size(size)
        vision: Any = self.size.to_config().vision_config
        vision.image_size = image_size or vision.image_size
        if layers is not None and not 0 < layers <= vision.num_hidden_layers:
            raise TowerError(f"layers={layers}: this CLIP has 1 to {vision.num_hidden_layers} to keep")
        vision.num_hidden_layers = layers or vision.num_hidden_layers
        self.width, self.patch_size = vision.hidden_size, vision.patch_size
        self.image_size = vision.image_size
        self.clip: Any = CLIPVisionModel(vision)
        del self.clip.post_layernorm
        if vision.hidden_act == "quick_gelu":
            blocks: Any = self.clip.encoder.layers
            for block in blocks:
                block.mlp.activation_fn = QuickGELU()
        if weights is not None:
            state = clip_weights(size if isinstance(size, str) else "", weights)
            side = self.image_size // self.patch_size
            kept = clip_vision_state(fit_positions(state, (side, side)), vision.num_hidden_layers)
            load_strictly(self.clip, kept, str(weights), allow_unexpected=("post_layernorm.*",))

    def forward(self, views: Tensor) -> Tensor:
        """Tokens ``(M, 1 + N, width)`` of ``views (M, 3, S, S)``."""
        tokens: Tensor = self.clip.pre_layrnorm(self.clip.embeddings(views))
        for block in self.clip.encoder.layers:
            tokens = block(tokens, None)
        return tokens


def clip_vision_state(state: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The vision half of a CLIP in transformers' layout, its first ``layers`` blocks."""
    kept = {name.removeprefix(_VISION): v for name, v in state.items() if name.startswith(_VISION)}
    prefix = "encoder.layers."
    return {
        name: value
        for name, value in kept.items()
        if not name.startswith(prefix) or int(name.removeprefix(prefix).split(".")[0]) < layers
    }


@MODELS.register_module()
class BEiT3Tower(BEiT3Backbone):
    """`BEiT3Backbone` that looks at pictures alone; its words stay, so that every BEiT-3 file fits.

    Args:
        size: see `BEiT3Backbone`.
        image_size: side of the views in pixels; the size's unless given.
        weights: None (random) or a file, see `BEiT3Backbone`.
    """

    def __init__(
        self,
        size: str | Mapping[str, Any] = "base",
        image_size: int | None = None,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__(size, image_size, projections=False, drop_path=0.0, weights=weights)
        self.width, self.patch_size = self.size.width, self.size.patch_size
        self.image_size = self.size.image_size

    def forward(self, views: Tensor) -> Tensor:  # type: ignore[override]
        """Tokens ``(M, 1 + N, width)`` of ``views (M, 3, S, S)``."""
        none = torch.zeros(len(views), 0, dtype=torch.int64, device=views.device)
        states = self.beit3.embed(views, none, none.bool(), None)
        for block in self.beit3.encoder.layers:
            states = block(*states, None)
        return states[0]


@MODELS.register_module()
class TimmTower(nn.Module):
    """Any vision transformer of timm with a class token.

    Args:
        name: timm's name of the model.
        drop_blocks: blocks left out at the end; DynRefer's towers leave out their last.
        image_size: side of the views in pixels.
        pretrained: fetch timm's weights.
    """

    def __init__(
        self, name: str, drop_blocks: int = 1, image_size: int = 224, pretrained: bool = False
    ) -> None:
        super().__init__()
        import timm

        try:
            vit: Any = timm.create_model(name, pretrained=pretrained, num_classes=0, img_size=image_size)
        except TypeError as error:  # other families have no img_size
            raise TowerError(f"timm's {name!r} is no vision transformer ({error})") from error
        blocks = len(getattr(vit, "blocks", ()))
        if not blocks or getattr(vit, "cls_token", None) is None:
            raise TowerError(f"timm's {name!r} is no vision transformer with a class token")
        if not 0 <= drop_blocks < blocks:
            raise TowerError(f"drop_blocks={drop_blocks}: {name!r} has {blocks} blocks")
        if drop_blocks:
            del vit.blocks[-drop_blocks:]
        vit.norm = nn.Identity()
        self.vit: Any = vit
        self.width, self.image_size = vit.embed_dim, image_size
        self.patch_size = vit.patch_embed.patch_size[0]

    def forward(self, views: Tensor) -> Tensor:
        """Tokens ``(M, 1 + N, width)`` of ``views (M, 3, S, S)``; register tokens are left out."""
        tokens: Tensor = self.vit.forward_features(views)
        registers = self.vit.num_prefix_tokens - 1
        return torch.cat((tokens[:, :1], tokens[:, 1 + registers :]), dim=1) if registers else tokens
