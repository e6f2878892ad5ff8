"""Released DynRefer checkpoints (repository ``callsys/DynRefer``), with EVA ViT-g and with CLIP ViT-L.

Such a file holds what was trained alone: 348 tensors of 4 billion values. A model that runs is assembled from
it and four other files, each of which has to be complete, see `refkit.zoo.layouts.dynrefer_sources`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refkit.backbones.state import StateDict, WeightError
from refkit.registry import MODELS
from refkit.zoo.layouts.dynrefer_sources import SOURCES, TOWERS, Tower, read_source, read_vocabularies
from refkit.zoo.layouts.renaming import Rule, published_name, rename, require_shapes

_ATTENTION = "Qformer.bert.encoder.layer.{n}.", "backbone.qformer.bert.encoder.layer.{n}."
REGION: tuple[Rule, ...] = (
    ("visual_encoder.{rest}", "backbone.tower.eva.{rest}"),
    ("visual_encoder.{rest}", "backbone.tower.clip.{rest}"),
    ("ln_vision.{rest}", "backbone.norm.{rest}"),
    ("query_tokens", "backbone.qformer.query_tokens"),
    ("Qformer.bert.embeddings.LayerNorm.{rest}", "backbone.qformer.bert.layernorm.{rest}"),
    *(
        (f"{_ATTENTION[0]}{kind}.self.{{rest}}", f"{_ATTENTION[1]}{kind}.attention.{{rest}}")
        for kind in ("attention", "crossattention")
    ),
    ("Qformer.bert.encoder.layer.{n}.{rest}", "backbone.qformer.bert.encoder.layer.{n}.{rest}"),
    ("cvem_align.{rest}", "backbone.align.{rest}"),
    ("cvem_mlp.{rest}", "backbone.fusion.{rest}"),
)


def _decoder(published: str, ours: str) -> tuple[Rule, ...]:
    """One of the two recognition decoders."""
    layer, into = f"{published}_head.encoder.layer.{{n}}.", f"{ours}.decoder.{{n}}."
    return (
        (layer + "crossattention.output.dense.{rest}", into + "output.{rest}"),
        (layer + "crossattention.output.LayerNorm.{rest}", into + "attention_norm.{rest}"),
        (layer + "intermediate.dense.{rest}", into + "feedforward.0.{rest}"),
        (layer + "output.dense.{rest}", into + "feedforward.2.{rest}"),
        (layer + "output.LayerNorm.{rest}", into + "norm.{rest}"),
        (layer + "crossattention.self.{rest}", into + "{rest}"),
        (f"{published}_text_proj.{{rest}}", f"{ours}.text_projection.{{rest}}"),
        (f"{published}_vision_proj.{{rest}}", f"{ours}.region_projection.{{rest}}"),
        (f"{published}_fc.{{rest}}", f"{ours}.score.{{rest}}"),
    )


RECOGNITION: tuple[Rule, ...] = (
    *_decoder("tag", "heads.tag"),
    *_decoder("attr", "heads.contrast"),
    ("attr_t", "heads.contrast.temperature"),
    ("attr_b", "heads.contrast.bias"),
)
CAPTION: tuple[Rule, ...] = (
    ("t5_proj.{rest}", "heads.caption.projection.{rest}"),
    ("cem_memory", "heads.caption.memory"),
    ("t5_model.{rest}", "heads.caption.language_model.model.{rest}"),
)
RULES = (*REGION, *RECOGNITION, *CAPTION)

_OWN = ("Qformer.", "cvem_", "tag_", "attr_", "t5_proj.", "cem_memory")
_POSITIONS = "Qformer.bert.embeddings.position_ids"  # a count from 0 to 511
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


def convert(
    state: Mapping[str, Tensor],
    vision: str | Path | Mapping[str, Tensor] | None = None,
    blip2: str | Path | Mapping[str, Tensor] | None = None,
    language_model: str | Path | Mapping[str, Tensor] | None = None,
    text: str | Path | Mapping[str, Tensor] | None = None,
    tags: str | Path | None = None,
    ovad: str | Path | None = None,
    tokenizer: str | None = None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """See `refkit.zoo.layouts.import_published`.

    Args:
        state: tensors of the checkpoint's ``model``.
        vision: ``eva_vit_g.pth``, or ``clip_vit_L.pth`` for a checkpoint with ViT-L, or its tensors.
        blip2: ``blip2_pretrained_flant5xl.pth`` (``…_vitL.pth``), for the queries and the tower's norm.
        language_model: folder or file of ``google/flan-t5-xl``.
        text: ``eva_clip_psz14.pt``; for ViT-L, ``openai/clip-vit-large-patch14``.
        tags: ``ram_tag_list.txt``, the 4585 names of the tag head.
        ovad: ``ovad2000.json``, for its attributes and COCO's classes; without it, the model is told what to
            recognise at run time.
        tokenizer: FlanT5's ``spiece.model``; without it, the model looks for a file of that name in the
            working folder.

    Raises:
        WeightError: sources that were not given, with the file that each expects; or tensors of a source that
            are missing, unknown or of another shape, all listed.
    """
    tower = _tower(state)
    given = {"vision": vision, "blip2": blip2, "language_model": language_model, "text": text, "tags": tags}
    if missing := [name for name, source in given.items() if source is None]:
        expected = "".join(f"\n  {name}: {SOURCES[name][tower.name]}" for name in missing)
        raise WeightError(
            "a released DynRefer holds only what was trained; a model that runs needs further files. "
            f"Not given:{expected}"
        )
    vocabularies = read_vocabularies(str(tags), ovad)
    model = _model(tower, vocabularies, views=_views(state))
    with torch.device("meta"):
        own = MODELS.build(_copied(model, tokenizer=None)).state_dict()
    weights = _assembled(state, given, tower, own)
    words = {"type": "T5Tokenizer", "model": tokenizer or "spiece.model"}
    model["data_preprocessor"] = {"type": "ReferringPreprocessor", "mean": _MEAN, "std": _STD}
    views = {"type": "RegionViews", "views": model["backbone"]["views"], "side": 224}
    return {"model": _copied(model, tokenizer=words), "pipeline": [views]}, weights


def options_from(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing in a checkpoint's stored settings changes the conversion."""
    return {}


def _assembled(
    state: Mapping[str, Tensor], given: Mapping[str, Any], tower: Tower, own: Mapping[str, Tensor]
) -> StateDict:
    """All tensors of the model; what is wrong with any of the files is told at once."""
    parts: dict[str, Callable[[], StateDict]] = {"checkpoint": lambda: _checkpoint(state, own)}
    for name in ("vision", "blip2", "language_model", "text"):
        parts[f"{name} ({SOURCES[name][tower.name]})"] = partial(_from_source, name, given[name], tower, own)
    weights: StateDict = {}
    complaints = []
    for title, part in parts.items():
        try:
            weights |= part()
        except WeightError as error:
            complaints.append(f"{title}: {error}")
    if complaints:
        raise WeightError("\n".join(complaints))
    return weights


def _checkpoint(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> StateDict:
    """What was trained, renamed; together with the sources it must be the whole model."""
    ours = {name: value for name, value in own.items() if published_name(name, RULES).startswith(_OWN)}
    found = {name: rename(name, RULES) for name in state if name != _POSITIONS}
    weights = {new: state[name] for name, new in found.items() if new in ours}
    require_shapes(ours, weights, [name for name, new in found.items() if new not in ours], RULES)
    return weights


def _from_source(name: str, source: Any, tower: Tower, own: Mapping[str, Tensor]) -> StateDict:
    """Tensors of one source by refkit's names, complete and of the right shapes."""
    prefixes, weights = read_source(name, source, tower)
    ours = {name: value for name, value in own.items() if name.startswith(prefixes)}
    require_shapes(ours, weights, [], RULES)
    return weights


def _tower(state: Mapping[str, Tensor]) -> Tower:
    fusion = state.get("cvem_mlp.2.weight")
    widths = {tower.width: tower for tower in TOWERS}
    if fusion is None or len(fusion) not in widths:
        seen = ", ".join(sorted({name.split(".")[0] for name in state})[:8])
        known = " or ".join(f"{width} channels ({tower.name})" for width, tower in widths.items())
        raise WeightError(
            f"no released DynRefer in it: cvem_mlp.2.weight must have {known} (names begin with {seen})"
        )
    return widths[len(fusion)]


def _views(state: Mapping[str, Tensor]) -> int:
    """The number of views is in the width of the fusion."""
    first = state.get("cvem_mlp.0.weight")
    return 3 if first is None else max(1, first.shape[-1] // first.shape[0])


def _model(tower: Tower, vocabularies: Mapping[str, Any], views: int) -> dict[str, Any]:
    text = {"text_width": tower.text_width}
    named = {name: vocabularies[name] for name in ("attributes", "categories") if name in vocabularies}
    return {
        "type": "DynRefer",
        "backbone": {"type": "RegionEncoder", "tower": dict(tower.config), "views": views},
        "text_encoder": {**tower.text_config, "tokenizer": {"type": "CLIPTokenizer"}},
        "heads": {
            "tag": {"type": "TagHead", "tags": vocabularies["tags"], **text},
            "contrast": {"type": "RegionContrastHead", **named, **text},
            "caption": {"type": "CaptionHead", "language_model": {"type": "T5Writer", "size": "flan-t5-xl"}},
        },
    }


def _copied(model: Mapping[str, Any], tokenizer: Mapping[str, Any] | None) -> dict[str, Any]:
    """The config with a tokenizer for captions; None builds a model that only its shapes are taken of."""
    heads = model["heads"]
    return {**model, "heads": {**heads, "caption": {**heads["caption"], "tokenizer": tokenizer}}}
