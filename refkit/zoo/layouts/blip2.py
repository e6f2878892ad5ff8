"""What DynRefer is trained from: BLIP-2's Q-Former and the frozen parts around it, joined to one file.

Such a file holds no answer yet: alignment, fusion, both recognition heads and the memory of control words
start from random values.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refkit.backbones.eva import eva_state
from refkit.backbones.state import StateDict, WeightError
from refkit.registry import MODELS
from refkit.zoo.layouts.dynrefer import RULES
from refkit.zoo.layouts.dynrefer_sources import SOURCES, TOWERS, Tower, read_source
from refkit.zoo.layouts.renaming import rename, require_shapes

NEW = ("backbone.fusion.*", "heads.caption.memory")
"""Patterns of what such a file lacks, apart from alignment and recognition heads."""

_PROJECTION = "heads.caption.projection."
_WRITER = "heads.caption.language_model.model."
_EVA = "backbone.tower.eva."
_READ = "Qformer.bert.encoder.layer.0.crossattention.self.key.weight"
_POSITIONS = "Qformer.bert.embeddings.position_ids"


def convert(
    state: Mapping[str, Tensor],
    vision: str | Path | Mapping[str, Tensor] | None = None,
    language_model: str | Path | Mapping[str, Tensor] | None = None,
    text: str | Path | Mapping[str, Tensor] | None = None,
    image_size: int | None = None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """See `refkit.zoo.layouts.import_published`.

    Args:
        state: tensors of ``blip2_pretrained_flant5xl.pth``, or ``…_vitL.pth``. Its text branch is left out.
        vision: ``eva_vit_g.pth``, or ``clip_vit_L.pth`` for ViT-L, or its tensors.
        language_model: folder or file of ``google/flan-t5-xl``, or of another language model, for which
            BLIP-2's projection is left out.
        text: ``eva_clip_psz14.pt``; for ViT-L, ``openai/clip-vit-large-patch14``.
        image_size: side of the views in pixels, for EVA ViT-g; its positions are resized.

    Raises:
        WeightError: a source that was not given; tensors that are missing or of another shape, all listed.
    """
    tower = _tower(state)
    given = {"vision": vision, "language_model": language_model, "text": text}
    if missing := [name for name, source in given.items() if source is None]:
        expected = "".join(f"\n  {name}: {SOURCES[name][tower.name]}" for name in missing)
        raise WeightError(f"DynRefer starts from further files than BLIP-2's. Not given:{expected}")
    config = _config(tower, image_size)
    with torch.device("meta"):
        own = MODELS.build(dict(config)).state_dict()
    weights = _queries(state, own)
    for name, source in given.items():
        weights |= read_source(name, source or {}, tower)[1]
    if image_size is not None:
        weights = _resized(weights, tower, image_size)
    if f"{_WRITER}shared.weight" not in weights:
        weights = {name: value for name, value in weights.items() if not name.startswith(_PROJECTION)}
        _require_whole(_without_writer(own), _without_writer(weights))
    else:
        _require_whole(own, weights)
    return {"model": config}, weights


def options_from(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing in a checkpoint's stored settings changes the conversion."""
    return {}


def _tower(state: Mapping[str, Tensor]) -> Tower:
    widths = {tower.width: tower for tower in TOWERS}
    key = state.get(_READ)
    if key is None or key.shape[-1] not in widths:
        known = " or ".join(f"{width} ({tower.name})" for width, tower in widths.items())
        raise WeightError(f"no BLIP-2 for DynRefer in it: {_READ} must read {known} channels")
    return widths[key.shape[-1]]


def _queries(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> StateDict:
    """Queries, norm of the tower, Q-Former and projection; other tensors are of parts that are not used."""
    found = {name: rename(name, RULES) or "" for name in state if name != _POSITIONS}
    kept = ("backbone.norm.", "backbone.qformer.", _PROJECTION)
    return {new: state[name] for name, new in found.items() if new in own and new.startswith(kept)}


def _resized(weights: StateDict, tower: Tower, image_size: int) -> StateDict:
    if not any(name.startswith(_EVA) for name in weights):
        raise WeightError(f"image_size={image_size}: views of another size are for EVA ViT-g")
    eva = {name.removeprefix(_EVA): value for name, value in weights.items() if name.startswith(_EVA)}
    eva = eva_state(eva, tower.layers, image_size // 14)
    return weights | {_EVA + name: value for name, value in eva.items()}


def _config(tower: Tower, image_size: int | None) -> dict[str, Any]:
    vision = dict(tower.config) if image_size is None else {**tower.config, "image_size": image_size}
    return {
        "type": "DynRefer",
        "backbone": {"type": "RegionEncoder", "tower": vision, "align": False},
        "text_encoder": {**tower.text_config, "tokenizer": {"type": "CLIPTokenizer"}},
        "heads": {
            "caption": {
                "type": "CaptionHead",
                "language_model": {"type": "T5Writer", "size": "flan-t5-xl"},
                "tokenizer": None,
            }
        },
    }


def _without_writer(state: Mapping[str, Tensor]) -> StateDict:
    """Another language model than FlanT5-XL is compared where it is loaded."""
    return {name: value for name, value in state.items() if not name.startswith((_WRITER, _PROJECTION))}


def _require_whole(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Everything but `NEW`."""
    require_shapes(own, weights, [], RULES, NEW)
