"""CLIP weights from wherever they are published, in transformers' layout.

Sources: a transformers name (``openai/clip-vit-base-patch16``), an open_clip tag (``openai``,
``laion2b_s34b_b88k``) or a local file in transformers', open_clip's, OpenAI's or refkit's own layout.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from refkit.backbones.clip_sizes import OPENAI_NAMES
from refkit.backbones.state import StateDict, WeightError, locate, read_state_dict

_FILE_SUFFIXES = {".safetensors", ".pt", ".pth", ".bin"}
_WRAPPERS = ("module.", "model.", "backbone.", "clip.")
_TOWERS_OF_A_MODEL = "backbone.clip."
_OPENAI_EXTRAS = ("attn_mask", "input_resolution", "context_length", "vocab_size", "logit_bias")
_POSITIONS = "vision_model.embeddings.position_embedding.weight"

_BLOCK_PARTS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_SINGLE = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": _POSITIONS,
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "logit_scale": "logit_scale",
}
_TRANSPOSED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
_BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)\.(weight|bias)")
_FUSED = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)")


def clip_weights(name: str, weights: str | Path) -> StateDict:
    """Tensors of a CLIP in transformers' layout.

    Args:
        name: the model's name, for tags that belong to one model.
        weights: a file, a transformers name or an open_clip tag of ``name``.

    Raises:
        WeightError: nothing of that name, an unreadable file or an unknown layout.
    """
    path = locate(weights)
    if path.suffix in _FILE_SUFFIXES or path.is_file():
        return to_transformers_layout(read_state_dict(path), str(path))
    if "/" in str(weights):
        from transformers import CLIPModel

        return dict(CLIPModel.from_pretrained(str(weights)).state_dict())
    return to_transformers_layout(
        _open_clip_state(OPENAI_NAMES.get(name, name), str(weights)), f"{name} {weights}"
    )


def published_activation(name: str, weights: str | Path) -> str | None:
    """The activation that open_clip's model and tag were trained with; None where it has no such entry."""
    import open_clip

    config = open_clip.get_pretrained_cfg(OPENAI_NAMES.get(name, name), str(weights))
    if not config:
        return None
    return "quick_gelu" if config.get("quick_gelu", False) else "gelu"


def to_transformers_layout(state: StateDict, source: str) -> StateDict:
    """Rename, split and transpose an open_clip or OpenAI state dict; transformers' own layout passes through.

    The fused ``in_proj`` of every attention becomes ``q_proj``, ``k_proj``, ``v_proj``; projections, which
    CLIP multiplies from the right, are transposed. Prefixes of wrappers (``module.``, ``model.``)
    are dropped; of a whole refkit model, only the towers are taken.
    """
    state = _drop_wrappers(state)
    if any(key.startswith("vision_model.") for key in state):
        return {key: value for key, value in state.items() if not key.endswith("position_ids")}
    if "visual.conv1.weight" not in state:
        raise WeightError(
            f"{source}: neither transformers' nor open_clip's CLIP layout (keys such as {next(iter(state))})"
        )
    return from_open_clip_names(state, source)


def from_open_clip_names(state: StateDict, source: str) -> StateDict:
    """Tensors by open_clip's or OpenAI's names, of one tower or both, in transformers' layout.

    Raises:
        WeightError: a name that is none of these.
    """
    converted: StateDict = {}
    for key, value in state.items():
        key = key.removeprefix("text.")
        if key not in _OPENAI_EXTRAS:
            converted.update(_convert(key, value.detach(), source))
    return converted


def resize_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Positions ``(1 + n, C)`` of a square grid, class position first, for another grid: ``(1 + h * w, C)``.

    Bicubic with antialias, corners not aligned, the class position kept (HiVG, spec of the vision encoder).
    """
    side = round((len(positions) - 1) ** 0.5)
    if (side, side) == grid:
        return positions
    patches = positions[1:].T.reshape(1, -1, side, side)
    resized = F.interpolate(patches.float(), grid, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat((positions[:1], resized.flatten(2)[0].T.to(positions.dtype)))


def fit_positions(state: StateDict, grid: tuple[int, int]) -> StateDict:
    """``state`` with its visual positions resized to ``grid``."""
    positions = state.get(_POSITIONS)
    return state if positions is None else {**state, _POSITIONS: resize_positions(positions, grid)}


def _drop_wrappers(state: StateDict) -> StateDict:
    if any(key.startswith(_TOWERS_OF_A_MODEL) for key in state):
        state = {key: value for key, value in state.items() if key.startswith(_TOWERS_OF_A_MODEL)}
    while True:
        prefix = next((p for p in _WRAPPERS if all(key.startswith(p) for key in state)), None)
        if prefix is None:
            return state
        state = {key.removeprefix(prefix): value for key, value in state.items()}


def _convert(key: str, value: Tensor, source: str) -> StateDict:
    if key in _SINGLE:
        return {_SINGLE[key]: value}
    if key in _TRANSPOSED:
        return {_TRANSPOSED[key]: value.T.contiguous()}
    if fused := _FUSED.fullmatch(key):
        tower, block, kind = fused.groups()
        root = f"{_tower(tower)}.encoder.layers.{block}.self_attn"
        parts = zip("qkv", value.chunk(3), strict=True)
        return {f"{root}.{letter}_proj.{kind}": part.contiguous() for letter, part in parts}
    if (match := _BLOCK.fullmatch(key)) and match[3] in _BLOCK_PARTS:
        tower, block, part, kind = match.groups()
        return {f"{_tower(tower)}.encoder.layers.{block}.{_BLOCK_PARTS[part]}.{kind}": value}
    raise WeightError(f"{source}: {key} has no place in a CLIP of transformers' layout")


def _tower(prefix: str | None) -> str:
    return "vision_model" if prefix else "text_model"


def _open_clip_state(name: str, tag: str) -> StateDict:
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        raise WeightError(
            f"no weights {tag!r} for {name!r}: not a file, and open_clip has {', '.join(tags) or 'none'}"
        )
    return dict(open_clip.create_model(name, pretrained=tag).state_dict())
