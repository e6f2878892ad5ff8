"""Released HiVG checkpoints (repository ``linhuixiao/HiVG``): base, large, one data set or mixed, any stage.

Keys are ``clip.`` + ``base_model.model.`` once per nested adapter wrapper + transformers' CLIP name;
everything else stands at the top. Nothing in the number of wrappers matters for inference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from refkit.backbones.state import WeightError
from refkit.zoo.layouts.adapters import merge_adapters
from refkit.zoo.layouts.renaming import Rule, rename, require_fit

Variant = Literal["single", "mixed"]

_BLOCK = "clip.vision_model.encoder.layers.{n}."
_BRIDGE = "backbone.bridges.{n}."
RULES: tuple[Rule, ...] = (
    (_BLOCK + "cross_norm.{rest}", _BRIDGE + "norm.{rest}"),
    (_BLOCK + "cross_attn.{rest}", _BRIDGE + "attention.{rest}"),
    (_BLOCK + "cross_mlp.{rest}", _BRIDGE + "mlp.{rest}"),
    (_BLOCK + "cross_gate.{rest}", _BRIDGE + "gate.linear.{rest}"),
    (_BLOCK + "cross_adaptive_weights.{j}.weight", _BRIDGE + "gate.weights.{j}"),
    ("clip.{rest}", "backbone.clip.{rest}"),
    ("condition_text_proj.{rest}", "backbone.bridges.projection.{rest}"),
    ("ml_visual_projection.{rest}", "encoder.perceiver.{rest}"),
    ("visu_proj.{rest}", "encoder.visual_projection.{rest}"),
    ("text_proj.{rest}", "encoder.text_projection.{rest}"),
    ("reg_token.weight", "encoder.region_token"),
    ("vl_pos_embed.weight", "encoder.position"),
    ("vl_transformer.encoder.{rest}", "encoder.{rest}"),
    ("bbox_embed.layers.0.{rest}", "heads.box.layers.0.{rest}"),
    ("bbox_embed.layers.1.{rest}", "heads.box.layers.2.{rest}"),
    ("bbox_embed.layers.2.{rest}", "heads.box.layers.4.{rest}"),
    ("visu_token_norm.{rest}", "heads.region_text.norm.{rest}"),
    ("visu_token_mlp.fc1.{rest}", "heads.region_text.into.{rest}"),
    ("visu_token_mlp.fc2.{rest}", "heads.region_text.out.{rest}"),
    ("seg_conv1.weight", "heads.mask.convolutions.0.weight"),
    ("seg_conv2.weight", "heads.mask.convolutions.1.weight"),
    ("seg_conv3.weight", "heads.mask.convolutions.2.weight"),
)
_WRAPPERS = re.compile(r"^clip\.(?:base_model\.model\.)*")
_DEAD = re.compile(
    r"ml_text_feat_perceiver\..*|reg_pos_embed\..*|condition_text_pos_embed\..*|.*\.position_ids"
)
_DEAD_SINGLE = re.compile(r"condition_text_proj\..*")
_DEAD_MIXED = re.compile(r".*\.cross_(gate|adaptive_weights)\..*")
_GATE = re.compile(r".*\.layers\.(\d+)\.cross_gate\.weight")
_BRIDGES = re.compile(r".*\.layers\.(\d+)\.cross_norm\.weight")
_TEXT_LEVELS = {1: [12], 2: [6, 12], 12: list(range(1, 13))}
_ALPHA = 16.0
_SIZES: dict[int, dict[str, Any]] = {
    512: {"size": "ViT-B-16", "visual_levels": [1, 4, 8, 12], "bridges": [0, 3, 7, 11]},
    768: {"size": "ViT-L-14", "visual_levels": [6, 12, 18, 24], "bridges": [4, 10, 16, 22]},
}


def convert(
    state: Mapping[str, Tensor],
    variant: Variant | None = None,
    published_batch_mixing: bool = False,
    alpha: float = _ALPHA,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """See `refkit.zoo.layouts.import_published`.

    Args:
        state: tensors of the checkpoint's ``model``.
        variant: ``single`` or ``mixed`` (trained on the five data sets together). Only files whose bridges
            read one text level need it: there the shapes of both are the same, and the mixed one reads other
            tensors.
        published_batch_mixing: evaluate as the released code does, where a prediction depends on what else
            is in the batch.
        alpha: LoRA's alpha.
    """
    state = {unwrapped(name): value for name, value in state.items()}
    _require_hivg(state)
    levels = _text_levels(state)
    mixed = _is_mixed(variant, levels)
    dead = _DEAD_MIXED if mixed else _DEAD_SINGLE
    used = {
        name: value for name, value in state.items() if not (_DEAD.fullmatch(name) or dead.fullmatch(name))
    }
    merged = merge_adapters(used, alpha)
    renamed = {name: rename(name, RULES) for name in merged}
    weights = {new: merged[name] for name, new in renamed.items() if new is not None}
    config = _config(state, levels, mixed, published_batch_mixing)
    unknown = [name for name, new in renamed.items() if new is None]
    require_fit(config["model"], weights, unknown, RULES)
    return config, weights


def unwrapped(name: str) -> str:
    """A published name without the nested adapter wrappers."""
    return _WRAPPERS.sub("clip.", name)


def _require_hivg(state: Mapping[str, Tensor]) -> None:
    needed = (
        "visu_proj.weight",
        "vl_pos_embed.weight",
        "ml_visual_projection.weight",
        "clip.text_model.final_layer_norm.weight",
    )
    absent = [name for name in needed if name not in state]
    if absent:
        seen = ", ".join(sorted({name.split(".")[0] for name in state})[:8])
        raise WeightError(
            f"not a HiVG checkpoint: {', '.join(absent)} missing (top-level names: {seen}). A file of CLIP "
            "with its adapters alone is an intermediate of training; give best_checkpoint.pth"
        )
    if len(state["visu_proj.weight"]) not in _SIZES:
        shape = tuple(state["visu_proj.weight"].shape)
        raise WeightError(f"visu_proj.weight is {shape}; HiVG has 512 (base) or 768 (large)")


def _text_levels(state: Mapping[str, Tensor]) -> list[int]:
    """Levels the bridges read, from the width of their gates."""
    width = state["clip.text_model.final_layer_norm.weight"].shape[0]
    counts = {value.shape[1] / width for name, value in state.items() if _GATE.fullmatch(name)}
    if len(counts) != 1 or (count := counts.pop()) not in _TEXT_LEVELS:
        raise WeightError(
            "cannot tell which text levels the bridges read: their gates should take 1, 2 or 12 levels of "
            f"{width} channels (HiVG without bridges is a warm-up and was never released)"
        )
    return _TEXT_LEVELS[int(count)]


def options_from(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `convert` that the settings stored in a checkpoint (its ``args``) decide."""
    if "mixup_pretrain" not in settings and "dataset" not in settings:
        return {}
    mixed = bool(settings.get("mixup_pretrain")) or settings.get("dataset") == "mixup"
    return {"variant": "mixed" if mixed else "single"}


def _is_mixed(variant: str | None, levels: list[int]) -> bool:
    if variant not in (None, "single", "mixed"):
        raise WeightError(f"variant {variant!r}; expected 'single' or 'mixed'")
    if len(levels) > 1:
        if variant == "mixed":
            raise WeightError(f"bridges read {len(levels)} text levels, so this is a single-data-set model")
        return False
    if variant is None:
        raise WeightError(
            "RefCOCO, Flickr30k and dataset-mixed models have the same shapes; say which this is with "
            "variant='single' or 'mixed' (--variant)"
        )
    return variant == "mixed"


def _config(
    state: Mapping[str, Tensor], levels: list[int], mixed: bool, published_batch_mixing: bool
) -> dict[str, Any]:
    width = len(state["visu_proj.weight"])
    size = _SIZES[width]
    bridges = sorted(int(found[1]) for name in state if (found := _BRIDGES.fullmatch(name)))
    if bridges != size["bridges"]:
        raise WeightError(f"bridges in blocks {bridges}; expected {size['bridges']} for {size['size']}")
    bridge = {
        "type": "CrossModalBridge",
        "blocks": bridges,
        "text_levels": levels,
        "source": "projected" if mixed else "levels",
        "published_batch_mixing": published_batch_mixing,
    }
    model = {
        "type": "HiVG",
        "data_preprocessor": {"type": "ReferringPreprocessor", "tokenizer": {"type": "CLIPTokenizer"}},
        "backbone": {
            "type": "CLIPBackbone",
            "size": size["size"],
            "visual_levels": size["visual_levels"],
            "pooled": True,
            "bridge": bridge,
        },
        "encoder": {
            "type": "GroundingEncoder",
            "width": width,
            "layers": 6,
            "heads": 8,
            "feedforward": 2048,
        },
        "heads": {
            "box": {"type": "BoxHead"},
            "region_text": {"type": "RegionTextHead", "hidden": 3072},
            "contrast": {"type": "ContrastHead"},
            "mask": {"type": "MaskHead"},
        },
    }
    return {"model": model, "pipeline": [{"type": "Letterbox", "size": 224}]}
