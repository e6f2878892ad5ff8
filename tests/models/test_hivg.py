from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import tiny_models as tiny
import torch

from refkit.models.headed import merged
from refkit.structures import Prediction


def test_frozen_parts_are_not_trained_and_stay_in_evaluation_mode():
    model = tiny.build(tiny.hivg_config(freeze=["backbone.clip.text_model", "encoder"])).train()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert {"encoder.position", "backbone.clip.text_model.final_layer_norm.weight"} <= frozen
    assert not any(name.startswith("heads.") for name in frozen)
    assert model.training and model.heads.training and model.backbone.training
    assert not model.encoder.training and not model.encoder.layers[0].dropout.training
    inputs, samples = tiny.inputs(2), tiny.samples(2)
    first, second = model(inputs, samples, mode="loss"), model(inputs, samples, mode="loss")
    assert torch.equal(first["loss_bbox"], second["loss_bbox"])  # no dropout is active any more


def test_a_frozen_backbone_builds_no_graph():
    model = tiny.build(tiny.hivg_config(freeze=["backbone"])).train()
    features = model.backbone(tiny.inputs(2))
    assert all(level.grad_fn is None for level in features.levels) and features.text.grad_fn is None
    assert model.features(tiny.inputs(2)).region_token.grad_fn is not None


def test_an_unknown_part_cannot_be_frozen():
    with pytest.raises(
        ValueError, match=r"nothing is called 'backbone\.clip\.texts?'; nearest: backbone\.clip"
    ):
        tiny.build(tiny.hivg_config(freeze=["backbone.clip.text"]))


def test_perceiver_starts_as_clips_projection_for_every_level():
    model = tiny.build(tiny.hivg_config())
    projection = model.backbone.clip.visual_projection.weight
    assert torch.equal(model.encoder.perceiver.weight, torch.cat([projection] * 3, dim=1))
    other = tiny.build(tiny.hivg_config(encoder={**tiny.hivg_config()["encoder"], "width": 64}))
    assert other.encoder.perceiver.weight.shape == (64, 3 * 48)


def test_named_tensors():
    model = tiny.build(tiny.hivg_config()).eval()
    named = model(tiny.inputs(3))
    words = tiny.inputs(3)["token_ids"].shape[1]
    shapes = {name: tuple(value.shape) for name, value in named.items()}
    assert shapes == {
        "visual_tokens": (3, 17, 32),
        "text_tokens": (3, words, 32),
        "encoder_out": (3, 1 + 17 + words, 32),
        "box_logits": (3, 4),
        "pred_boxes": (3, 4),
        "visual_token_mask": (3, 16),
        "text_token_mask": (3, words),
    }
    features = model.features(tiny.inputs(3))
    torch.testing.assert_close(model.heads["box"](features), named["box_logits"])


def test_the_answer_depends_on_the_words():
    model = tiny.build(tiny.hivg_config()).eval()
    inputs = tiny.inputs(2)
    other = {**inputs, "token_ids": inputs["token_ids"].clone()}
    other["token_ids"][0, 1] += 1
    a, b = model(inputs)["pred_boxes"], model(other)["pred_boxes"]
    assert not torch.equal(a[0], b[0]) and torch.allclose(a[1], b[1], atol=1e-6)


def test_attention_of_both_transformers():
    maps = tiny.build(tiny.hivg_config()).eval().features(tiny.inputs(2), attention=True).attention
    assert [*maps] == ["vision.0", "vision.1", "vision.2", "grounding.0", "grounding.1"]


def test_predictions_of_several_heads_are_merged():
    box = Prediction(id="a", boxes=np.zeros((1, 4)))
    mask = Prediction(id="a", mask={"size": [1, 1], "counts": "1"}, scores=np.ones(1))
    together = merged((box, mask))
    assert together.boxes is box.boxes and together.mask is mask.mask and together.scores is mask.scores
    assert {field.name for field in fields(together) if getattr(together, field.name) is None} >= {
        "caption",
        "raw",
    }


def test_a_stage_can_train_a_tower_that_adapters_stand_in_for():
    vision = "backbone.clip.vision_model.encoder.layers"
    adapters = {"type": "HiLoRA", "groups": {vision: 3}, "whole": [], "always": []}
    model = tiny.build(tiny.hivg_config(adapters=adapters))
    tower = model.backbone.clip.vision_model.encoder.layers[0].mlp.fc1.weight
    assert not tower.requires_grad
    model.enter_stage({"thaw": ["backbone.clip"]})
    assert tower.requires_grad
    assert not model.backbone.clip.logit_scale.requires_grad  # nothing reads it
    model.enter_stage({"adapt": 1})
    assert not tower.requires_grad
    with pytest.raises(ValueError, match="thaw"):
        model.enter_stage({"thaw": ["backbone.clap"]})
