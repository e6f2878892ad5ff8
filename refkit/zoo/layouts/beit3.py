"""Released BEiT-3 files (``beit3_{base,large}_indomain_patch16_224.pth`` and their kind).

Training of OneRef starts from them. They hold half-precision tensors by the names that `BEiT3Backbone` keeps,
the two heads of masked pre-training, and no projections: only files tuned for retrieval (``itc``) have those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from refkit.backbones.beit3_sizes import PUBLISHED
from refkit.backbones.beit3_weights import fit_positions
from refkit.backbones.state import StateDict, WeightError
from refkit.zoo.layouts.renaming import Rule, rename, require_fit

BACKBONE: tuple[Rule, ...] = (
    ("logit_scale", "backbone.logit_scale"),
    ("beit3.{rest}", "backbone.beit3.{rest}"),
    ("language_head.{rest}", "backbone.language_head.{rest}"),
    ("vision_head.{rest}", "backbone.vision_head.{rest}"),
)
MASKED: tuple[Rule, ...] = (
    ("mim_head.{rest}", "heads.masked_image.content.{rest}"),
    ("mlm_head.{rest}", "heads.masked_text.content.{rest}"),
)
_RULES = (*BACKBONE, *MASKED)
_HEADS = {"mim_head.weight": "masked_image", "mlm_head.weight": "masked_text"}
_TYPES = {"masked_image": "MaskedImageHead", "masked_text": "MaskedTextHead"}
_LACKING = ("heads.*.relation.*",)
_PROJECTIONS = ("logit_scale", "language_head.weight", "vision_head.weight")
_TABLE = "beit3.encoder.embed_positions.A.weight"
_NEEDED = (_TABLE, "beit3.text_embed.weight", "beit3.encoder.layer_norm.A.weight")
_WIDTHS = {size.width: name for name, size in PUBLISHED.items()}


def convert(
    state: Mapping[str, Tensor], image_size: int | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """See `refkit.zoo.layouts.import_published`.

    The result is no complete model but what a file can give to one: a backbone and, where the file has them,
    the layers that predict hidden patches and words. Training takes the backbone from it with ``weights=``,
    or both with ``load_from`` and ``load_allow_missing`` for what it lacks.

    Args:
        state: tensors of the file's ``model``.
        image_size: side of the pictures to come, in pixels; the position table is resized to it. By default
            it stays that of the file (224).
    """
    backbone = backbone_config(state) | {"projections": all(name in state for name in _PROJECTIONS)}
    weights, unknown = renamed(resized(state, backbone, image_size), _RULES)
    heads = {_HEADS[name]: {"type": _TYPES[_HEADS[name]]} for name in _HEADS if name in state}
    model = {"type": "MRefM" if heads else "OneRef", "backbone": backbone, "heads": heads}
    require_fit(model, weights, unknown, _RULES, _LACKING)
    return {"model": model}, weights


def options_from(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing in a checkpoint's stored settings changes the conversion."""
    return {}


def renamed(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> tuple[StateDict, list[str]]:
    """Tensors by refkit's names, and the published names that no rule knows."""
    names = {name: rename(name, rules) for name in state}
    known = {new: state[name] for name, new in names.items() if new is not None}
    return known, [name for name, new in names.items() if new is None]


def backbone_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Config of the `BEiT3Backbone` that published tensors belong to.

    Raises:
        WeightError: they belong to no BEiT-3, or to none of a published size.
    """
    if absent := [name for name in _NEEDED if name not in state]:
        seen = ", ".join(sorted({name.split(".")[0] for name in state})[:8])
        raise WeightError(f"no BEiT-3 in it: {', '.join(absent)} missing (top-level names: {seen})")
    shape = tuple(state[_TABLE].shape)
    if len(shape) != 2 or shape[1] not in _WIDTHS:
        known = " or ".join(f"{width} channels ({name})" for width, name in _WIDTHS.items())
        raise WeightError(f"{_TABLE} is {shape}; a published BEiT-3 has {known}")
    name = _WIDTHS[shape[1]]
    side = round((shape[0] - 3) ** 0.5) * PUBLISHED[name].patch_size
    return {"type": "BEiT3Backbone", "size": name, "image_size": side}


def resized(state: Mapping[str, Tensor], backbone: dict[str, Any], image_size: int | None) -> StateDict:
    """Tensors for pictures of ``image_size``, which is noted in the backbone's config."""
    if image_size is not None:
        patch = PUBLISHED[backbone["size"]].patch_size
        if image_size < patch or image_size % patch:
            raise WeightError(f"image_size {image_size} is not a multiple of the patch, {patch} pixels")
        backbone["image_size"] = image_size
        state = fit_positions(state, (image_size // patch,) * 2)
    return dict(state)
