"""BLIP-2 and the frozen parts beside it become what DynRefer is trained from, at true size and strictly."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
import torch
from published_weights import manifest

from refkit.backbones.state import WeightError
from refkit.registry import MODELS
from refkit.zoo.layouts import import_published
from refkit.zoo.layouts.blip2 import NEW


def meta(*shape):
    return torch.empty(shape, device="meta")


def shapes(name):
    names = manifest(f"dynrefer/{name}_manifest.json.gz")
    return {key: torch.empty(shape, device="meta") for key, (shape, _) in names.items()}


def part(state, prefix):
    return {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}


@pytest.fixture
def blip2():
    """Of the file, what is used, and some of its text branch."""
    text = {
        "Qformer.bert.encoder.layer.0.intermediate.dense.weight": meta(3072, 768),
        "Qformer.cls.predictions.bias": meta(30523),
    }
    return {**shapes("blip2_flant5xl_consumed"), **text}


@pytest.fixture
def others():
    frozen = shapes("frozen_eva")
    return {
        "vision": part(frozen, "visual_encoder."),
        "language_model": part(frozen, "t5_model."),
        "text": {f"text.{name}": v for name, v in part(frozen, "text_encoder.").items()},
    }


def test_joins_everything_but_what_is_new(blip2, others):
    config, weights = import_published("blip2", blip2, **others)
    with torch.device("meta"):
        own = MODELS.build(config["model"]).state_dict()
    lacking = {name for name in own if any(fnmatchcase(name, pattern) for pattern in NEW)}
    assert set(weights) == set(own) - lacking
    assert {name for name in own if "fusion" in name} < lacking


def test_views_of_another_size_get_positions_of_it(blip2, others):
    """Values are interpolated, so this one table has memory."""
    others["vision"]["pos_embed"] = torch.linspace(0, 1, 257)[None, :, None].expand(1, 257, 1408)
    weights = import_published("blip2", blip2, image_size=336, **others)[1]
    positions = weights["backbone.tower.eva.pos_embed"]
    assert positions.shape == (1, 24 * 24 + 1, 1408)
    assert positions[0, 0, 0] == 0 and positions.max() <= 1.01


def test_another_language_model_does_without_the_projection(blip2, others):
    others["language_model"] = {"model.embed_tokens.weight": meta(32000, 4096)}
    weights = import_published("blip2", blip2, **others)[1]
    assert "heads.caption.language_model.model.model.embed_tokens.weight" in weights
    assert not any(name.startswith("heads.caption.projection") for name in weights)


def test_says_what_is_missing(blip2, others):
    with pytest.raises(WeightError, match=r"Not given:\n  language_model: google/flan-t5-xl\n  text"):
        import_published("blip2", blip2, vision=others["vision"])
    del blip2["Qformer.bert.encoder.layer.3.output_query.dense.weight"]
    with pytest.raises(WeightError, match=r"1 missing:\n  Qformer.bert.encoder.layer.3.output_query"):
        import_published("blip2", blip2, **others)
    with pytest.raises(WeightError, match=r"must read 1408 \(EVA ViT-g\) or 1024"):
        import_published("blip2", {"query_tokens": meta(1, 32, 768)}, **others)
