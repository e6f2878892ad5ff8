"""The released visual tokenizer (``vqkd_encoder_base_decoder_3x768x12_clip-d5036aa7.pth`` of BEiT v2).

What a tokenizer needs keeps its published names. Tensors of its training's losses and teacher are dropped
unseen; the decoder and the codebook's statistics must be there, whole and of the right shapes, or the file is
not what it is said to be, but they are not kept: only further training of the tokenizer would read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from refkit.backbones.state import WeightError
from refkit.backbones.vqkd import VQKDSize, transformer
from refkit.registry import MODELS
from refkit.zoo.layouts.renaming import Rule, require_shapes

RULES: tuple[Rule, ...] = (("{rest}", "{rest}"),)
_DROPPED = ("loss", "teacher", "scaling")
_DECODER_LAYERS = 3
_TEACHER_WIDTH = 512
_SIZE = VQKDSize()


def convert(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """See `refkit.zoo.layouts.import_published`; the model is a `VQKD`.

    Args:
        state: tensors of the file's ``model``.
    """
    given = {name: value for name, value in state.items() if not name.startswith(_DROPPED)}
    if "quantize.embedding.weight" not in given:
        seen = ", ".join(sorted({name.split(".")[0] for name in state})[:8])
        raise WeightError(f"no VQ-KD in it: quantize.embedding.weight is missing (names begin with {seen})")
    config = {"type": "VQKD", "size": "base"}
    with torch.device("meta"):
        kept = MODELS.build(dict(config)).state_dict()
        passed_over = _training_only().state_dict()
    require_shapes({**kept, **passed_over, **_statistics()}, given, [], RULES)
    return {"model": config}, {name: given[name] for name in kept}


def options_from(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing in a checkpoint's stored settings changes the conversion."""
    return {}


def _training_only() -> nn.Module:
    """The decoder, which maps codes back to the features of its teacher."""
    width = _SIZE.width
    return nn.ModuleDict(
        {
            "decoder": transformer(_SIZE, _DECODER_LAYERS, patch_size=1, channels=_SIZE.code_width),
            "decode_task_layer": nn.Sequential(
                nn.Linear(width, width), nn.Tanh(), nn.Linear(width, _TEACHER_WIDTH)
            ),
        }
    )


def _statistics() -> dict[str, Tensor]:
    """Moving averages of the codebook that its lookup does not read."""
    codes, width = _SIZE.codes, _SIZE.code_width
    shapes = {"cluster_size": (codes,), "embed_avg": (codes, width), "initted": (1,)}
    return {f"quantize.embedding.{name}": torch.empty(shape, device="meta") for name, shape in shapes.items()}
