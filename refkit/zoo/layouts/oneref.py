"""Released OneRef checkpoints (repository ``linhuixiao/OneRef``): base and large, boxes, masks, pre-training.

The backbone's names are BEiT-3's own; heads stand at the top. A model of masks carries the box head and a
model of pre-training too, but neither was trained there, so they are left out: their boxes would be noise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from refkit.zoo.layouts.beit3 import BACKBONE, backbone_config, resized
from refkit.zoo.layouts.renaming import Rule, rename, require_fit

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
RULES: tuple[Rule, ...] = (*BACKBONE, *_BOX, *_MASK)
_UNUSED = re.compile(r"text_proj\..*")
_UNTRAINED = re.compile(r"(bbox_embed|visu_proj)\..*")
_HEADS: dict[str, dict[str, Any]] = {
    "boxes": {"box": {"type": "SimilarityBoxHead"}, "constraint": {"type": "SimilarityConstraintHead"}},
    "masks": {"mask": {"type": "CosineMaskHead"}},
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
    kind = "masks" if "seg_conv1.weight" in state else "boxes"
    dead = _UNTRAINED if kind != "boxes" else _UNUSED
    used = {name: v for name, v in state.items() if not (_UNUSED.fullmatch(name) or dead.fullmatch(name))}
    fitted = resized(used, backbone, image_size)
    renamed = {name: rename(name, RULES) for name in fitted}
    weights = {new: fitted[name] for name, new in renamed.items() if new is not None}
    model = {"type": "OneRef", "backbone": backbone, "heads": _HEADS[kind]}
    require_fit(model, weights, [name for name, new in renamed.items() if new is None], RULES)
    words = {"type": "SentencePieceTokenizer", "model": tokenizer or "beit3.spm"}
    model["data_preprocessor"] = {"type": "ReferringPreprocessor", "tokenizer": words, "trim_text": True}
    return {"model": model, "pipeline": [{"type": "Letterbox", "size": backbone["image_size"]}]}, weights


def options_from(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing in a checkpoint's stored settings changes the conversion: names and shapes say it all."""
    return {}
