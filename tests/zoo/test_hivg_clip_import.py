"""The detection-adapted CLIP of HiVG's authors becomes a plain CLIP that training starts from."""

from __future__ import annotations

import pytest
import torch
from transformers import CLIPModel

from refkit.backbones.clip_sizes import clip_size
from refkit.backbones.clip_weights import to_transformers_layout
from refkit.backbones.state import WeightError
from refkit.zoo.layouts import import_published

LAYER = "vision_model.encoder.layers.3.self_attn.q_proj"
RANK = 32


def released(size: str = "ViT-B-16") -> dict[str, torch.Tensor]:
    """Names and shapes of the released file, values zero (one number each, expanded), one pair of matrices."""
    with torch.device("meta"):
        plain = CLIPModel(clip_size(size).to_config()).state_dict()
    wrapped = "base_model.model."
    state = {wrapped + name: torch.zeros(()).expand(value.shape) for name, value in plain.items()}
    width = len(plain[f"{LAYER}.bias"])
    generator = torch.Generator().manual_seed(0)
    state[f"{wrapped}{LAYER}.lora_A.default.weight"] = torch.randn(RANK, width, generator=generator)
    state[f"{wrapped}{LAYER}.lora_B.default.weight"] = torch.randn(width, RANK, generator=generator)
    state[f"{wrapped}vision_model.embeddings.position_ids"] = torch.arange(197)[None]
    return state


@pytest.mark.parametrize("size", ["ViT-B-16", "ViT-L-14"])
def test_becomes_a_plain_clip_with_the_adapters_merged(size):
    state = released(size)
    config, weights = import_published("hivg_clip", state)
    assert config["model"]["backbone"]["size"] == size
    tower = to_transformers_layout(weights, "here")
    plain = {name.removeprefix("base_model.model.") for name in state}
    assert set(tower) == {name for name in plain if "lora_" not in name and "position_ids" not in name}
    down, up = (state[f"base_model.model.{LAYER}.lora_{side}.default.weight"] for side in "AB")
    torch.testing.assert_close(tower[f"{LAYER}.weight"], 0.5 * up @ down)


def test_newer_names_of_adapted_layers_are_understood():
    state = released()
    weight = state.pop(f"base_model.model.{LAYER}.weight")
    state[f"base_model.model.{LAYER}.base_layer.weight"] = weight
    _, weights = import_published("hivg_clip", state)
    assert f"backbone.clip.{LAYER}.weight" in weights


def test_missing_and_unknown_tensors_are_listed():
    state = released()
    del state["base_model.model.text_model.final_layer_norm.weight"]
    state["base_model.model.roi_head.weight"] = torch.zeros(2)
    with pytest.raises(WeightError, match=r"(?s)text_model\.final_layer_norm\.weight.*roi_head\.weight"):
        import_published("hivg_clip", state)


def test_other_files_are_refused():
    with pytest.raises(WeightError, match=r"no visual_projection\.weight"):
        import_published("hivg_clip", {"visu_proj.weight": torch.zeros(512, 512)})
    with pytest.raises(WeightError, match=r"is \(4, 8\)"):
        import_published("hivg_clip", {"visual_projection.weight": torch.zeros(4, 8)})
