"""Released BEiT-3 files become what training starts from: half precision, with or without pre-training heads."""

from __future__ import annotations

import pytest
import torch
from published_weights import fill, manifest

from refkit.backbones.state import WeightError
from refkit.zoo.layouts import import_published

TABLE = "beit3.encoder.embed_positions.A.weight"


def released(side=14, heads=("mim_head", "mlm_head")):
    """Names and shapes of the in-domain file; only the position table has values."""
    names = manifest("oneref/mrefm_base_manifest.json.gz")
    state = {
        name: torch.empty(shape, device="meta", dtype=torch.float16)
        for name, (shape, _) in names.items()
        if name.split(".")[0] in ("beit3", *heads)
    }
    return state | {TABLE: fill(TABLE, (3 + side * side, 768)).half()}


def test_a_backbone_and_two_layers_in_half_precision():
    state = released()
    config, weights = import_published("beit3", state)
    assert config == {
        "model": {
            "type": "MRefM",
            "backbone": {"type": "BEiT3Backbone", "size": "base", "image_size": 224, "projections": False},
            "heads": {"masked_image": {"type": "MaskedImageHead"}, "masked_text": {"type": "MaskedTextHead"}},
        }
    }
    assert len(weights) == len(state)
    assert weights["heads.masked_image.content.weight"].shape == (8192, 768)
    assert weights["heads.masked_text.content.bias"].shape == (64010,)
    assert {value.dtype for value in weights.values()} == {torch.float16}
    parameters = sum(value.numel() for value in weights.values())
    assert f"{parameters / 1e6:.2f}" == "276.51"  # the published 276M; 553 MB in half precision


def test_the_position_table_is_resized_in_float32():
    config, weights = import_published("beit3", released(), image_size=384)
    table = weights[f"backbone.{TABLE}"]
    assert table.shape == (579, 768) and table.dtype == torch.float32
    assert config["model"]["backbone"]["image_size"] == 384


def test_files_tuned_for_retrieval_bring_projections():
    names = ("logit_scale", "language_head.weight", "vision_head.weight")
    state = released(side=24, heads=names)
    shapes = manifest("oneref/rec_base_manifest.json.gz")
    state |= {name: torch.empty(shapes[name][0], device="meta") for name in names}
    config, weights = import_published("beit3", state)
    assert config["model"]["backbone"]["projections"] and config["model"]["heads"] == {}
    assert config["model"]["backbone"]["image_size"] == 384
    assert {f"backbone.{name}" for name in names} <= set(weights)


def test_other_files_are_refused_and_differences_are_listed():
    state = released()
    del state["beit3.encoder.layers.5.self_attn.inner_attn_ln.B.weight"]
    state["beit3.relative_position.weight"] = torch.empty(3)
    with pytest.raises(WeightError) as error:
        import_published("beit3", state)
    assert "1 missing:\n  beit3.encoder.layers.5.self_attn.inner_attn_ln.B.weight" in str(error.value)
    assert "1 unknown:\n  beit3.relative_position.weight" in str(error.value)
    with pytest.raises(WeightError, match="no BEiT-3 in it"):
        import_published("beit3", {"cls_token": torch.zeros(1, 1, 768), "rel_pos_bias.table": torch.zeros(2)})
    with pytest.raises(WeightError, match="not BEiT-3's"):
        import_published("beit3", released() | {TABLE: torch.zeros(200, 768)}, image_size=384)
