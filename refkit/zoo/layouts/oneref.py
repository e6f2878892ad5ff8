"""Released OneRef checkpoints (repository ``linhuixiao/OneRef``): base and large, boxes, masks, pre-training.

The backbone's names are BEiT-3's own; heads stand at the top. A model of masks carries the box head and a
model of pre-training too, but neither was trained there, so they are left out: their boxes would be noise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from refkit.zoo.layouts.beit3 import BACKBONE, MASKED, backbone_config, renamed, resized
from refkit.zoo.layouts.renaming import Rule, require_fit

_BOX: tuple[Rule, ...] = (
    ("visu_proj.{rest}", "heads.box.projection.{rest}"),
    ("bbox_embed.layers.0.{rest}", "heads.box.layers.0.{rest}"),
    ("bbox_embed.layers.1.{rest}", "heads.box.layers.2.{rest}"),
    ("bbox_embed.layers.2.{rest}", "heads.box.layers.4.{rest}"),
)
_MASK: tuple[Rule, ...] = (
    ("seg_conv1.weight", "heads.mask.convolutions.0.weight"),
    ("seg_conv2.weight", "heads.mask.convolutions.1.weight"),
    ("seg_conv3.weight", "heads.mask.convolutions.2.weight"),
    ("bn1.{rest}", "heads.mask.norms.0.{rest}"),
    ("bn2.{rest}", "heads.mask.norms.1.{rest}"),
    ("bn3.{rest}", "heads.mask.norms.2.{rest}"),
)
_RELATION: tuple[Rule, ...] = (
    ("mim_vts_head.layers.0.{rest}", "heads.masked_image.relation.0.{rest}"),
    ("mim_vts_head.layers.1.{rest}", "heads.masked_image.relation.2.{rest}"),
    ("mim_vts_head.layers.2.{rest}", "heads.masked_image.relation.4.{rest}"),
    ("mlm_sts_head.layers.0.{rest}", "heads.masked_text.relation.0.{rest}"),
    ("mlm_sts_head.layers.1.{rest}", "heads.masked_text.relation.2.{rest}"),
    ("mlm_sts_head.layers.2.{rest}", "heads.masked_text.relation.4.{rest}"),
)
RULES: tuple[Rule, ...] = (*BACKBONE, *_BOX, *_MASK, *MASKED, *_RELATION)
_UNUSED = re.compile(r"text_proj\..*")
_UNTRAINED = re.compile(r"(text_proj|bbox_embed|visu_proj)\..*")
_HEADS: dict[str, dict[str, Any]] = {
    "boxes": {"box": {"type": "SimilarityBoxHead"}, "constraint": {"type": "SimilarityConstraintHead"}},
    "masks": {"mask": {"type": "CosineMaskHead"}},
    "pre-training": {
        "constraint": {"type": "SimilarityConstraintHead"},
        "masked_image": {"type": "MaskedImageHead"},
        "masked_text": {"type": "MaskedTextHead"},
    },
}


def convert(
    state: Mapping[str, Tensor], image_size: int | None = None, tokenizer: str | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """See `refkit.zoo.layouts.import_published`.

    Args:
        state: tensors of the checkpoint's ``model``.
        image_size: side of the pictures to come, in pixels; the position table is resized to it. By default
            it stays that of the file (384).
        tokenizer: the published ``beit3.spm``; without it, the model looks for a file of that name in the
            working folder.
    """
    backbone = backbone_config(state)
    kind = _kind(state)
    dead = _UNUSED if kind == "boxes" else _UNTRAINED
    used = {name: value for name, value in state.items() if not dead.fullmatch(name)}
    weights, unknown = renamed(resized(used, backbone, image_size), RULES)
    family = "MRefM" if kind == "pre-training" else "OneRef"
    model = {"type": family, "backbone": backbone, "heads": _HEADS[kind]}
    require_fit(model, weights, unknown, RULES)
    words = {"type": "SentencePieceTokenizer", "model": tokenizer or "beit3.spm"}
    model["data_preprocessor"] = {"type": "ReferringPreprocessor", "tokenizer": words, "trim_text": True}
    return {"model": model, "pipeline": [{"type": "Letterbox", "size": backbone["image_size"]}]}, weights


def _kind(state: Mapping[str, Tensor]) -> str:
    """What the model was trained for, by the heads that only this training has."""
    if "mim_head.weight" in state:
        return "pre-training"
    return "masks" if "seg_conv1.weight" in state else "boxes"


def options_from(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing in a checkpoint's stored settings changes the conversion: names and shapes say it all."""
    return {}
