"""The CLIP that HiVG's authors start from: adapted to detection on COCO, released as a file of its own.

``clip_b_ml_cascade_maskrcnn_model_224.pth`` and its large counterpart hold transformers' CLIP inside one
adapter wrapper, ``base_model.model.`` + name, with LoRA matrices. Here they are merged, so that the result is
a plain CLIP: it computes what the released file computes, while HiLoRA begins with new matrices instead of
going on with those. Layout as far as loading code and users' logs tell; the files were not at hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from refkit.backbones.state import WeightError
from refkit.zoo.layouts.adapters import merge_adapters
from refkit.zoo.layouts.renaming import Rule, rename, require_fit

RULES: tuple[Rule, ...] = (("{rest}", "backbone.clip.{rest}"),)
_WRAPPERS = re.compile(r"^(?:clip\.)?(?:base_model\.model\.)*")
_BUFFERS = re.compile(r".*\.position_ids")
_PROJECTION = "visual_projection.weight"
_ALPHA = 16.0
_SIZES = {(512, 768): "ViT-B-16", (768, 1024): "ViT-L-14"}


def convert(state: Mapping[str, Tensor], alpha: float = _ALPHA) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """See `refkit.zoo.layouts.import_published`; the model is a `CLIPPretrain`, which holds CLIP alone.

    Args:
        state: tensors of the file's ``model``.
        alpha: LoRA's alpha.
    """
    plain = {_WRAPPERS.sub("", name): value for name, value in state.items() if not _BUFFERS.fullmatch(name)}
    config = {"model": _model(plain)}
    merged = merge_adapters(plain, alpha)
    weights = {str(rename(name, RULES)): value for name, value in merged.items()}
    require_fit(config["model"], weights, [], RULES)
    return config, weights


def options_from(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing in a checkpoint's stored settings changes the conversion."""
    return {}


def _model(state: Mapping[str, Tensor]) -> dict[str, Any]:
    shape = tuple(state[_PROJECTION].shape) if _PROJECTION in state else None
    if shape not in _SIZES:
        found = f"{_PROJECTION} is {shape}" if shape else f"no {_PROJECTION}"
        known = " or ".join(f"{size} {name}" for size, name in _SIZES.items())
        raise WeightError(f"not a CLIP that HiVG starts from: {found}; expected {known}")
    backbone = {"type": "CLIPBackbone", "size": _SIZES[shape]}
    return {"type": "CLIPPretrain", "backbone": backbone, "tokenizer": {"type": "CLIPTokenizer"}}
