"""OneRef: boxes and masks from one pass, stages of training, another backbone under the same heads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_models as tiny
import torch

from refkit.backbones import BEiT3Backbone, CLIPBackbone, SentencePieceTokenizer
from refkit.backbones.tokenizer import TokenizerError
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.heads import CosineMaskHead, SimilarityBoxHead, SimilarityConstraintHead
from refkit.models import OneRef
from refkit.models.headed import NoAnswerError
from refkit.zoo.weights import WeightError, load_weights, save_weights

BOX, MASK = {"box": {"type": SimilarityBoxHead}}, {"mask": {"type": CosineMaskHead}}


def samples(count):
    mask = np.zeros((1, 32, 32), bool)
    mask[0, 8:20, 4:24] = True
    return [replace(sample, masks=mask) for sample in tiny.samples(count)]


def trained(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_a_joint_model_answers_with_box_and_mask_from_one_pass():
    model = tiny.build(tiny.oneref_config(heads=BOX | MASK)).eval()
    passes = []
    model.backbone.register_forward_hook(lambda *_: passes.append(1))
    for prediction in model(tiny.inputs(2), samples(2), mode="predict"):
        assert prediction.boxes.shape == (1, 4)
        assert prediction.mask["size"] == [48, 64]
    assert len(passes) == 1
    losses = model(tiny.inputs(2), samples(2), mode="loss")
    assert set(losses) == {"loss_bbox", "loss_giou", "loss_seg_focal", "loss_seg_dice"}
    named = model(tiny.inputs(2))
    assert named["mask_logits"].shape == (2, 1, 32, 32) and named["pred_boxes"].shape == (2, 4)


def test_a_head_that_is_switched_off_neither_learns_nor_answers():
    model = tiny.build(tiny.oneref_config(heads=BOX | MASK, without=["heads.box"]))
    assert set(model(tiny.inputs(2), samples(2), mode="loss")) == {"loss_seg_focal", "loss_seg_dice"}
    assert not [name for name in trained(model) if name.startswith("heads.box")]
    assert model.eval()(tiny.inputs(1), samples(1), mode="predict")[0].boxes is None


def test_without_an_answering_head_it_says_so():
    model = tiny.build(tiny.oneref_config(heads={"constraint": {"type": SimilarityConstraintHead}}))
    with pytest.raises(NoAnswerError, match=r"heads of this OneRef answers \(constraint\)"):
        model(tiny.inputs(1), tiny.samples(1), mode="predict")


def test_only_what_a_loss_reaches_is_trained():
    """A model of masks never asks how similar a patch is, so nothing would train that projection."""
    masks = tiny.build(tiny.oneref_config(heads=MASK))
    assert "backbone.language_head.weight" in trained(masks)
    assert not {"backbone.vision_head.weight", "backbone.logit_scale"} & trained(masks)
    assert "backbone.vision_head.weight" in trained(tiny.build(tiny.oneref_config(heads=BOX)))


def test_the_first_stage_trains_projections_and_heads_alone():
    model = tiny.build(tiny.oneref_config(heads=BOX, freeze=["backbone.beit3"])).train()
    assert {name.split(".")[1] for name in trained(model)} == {"language_head", "vision_head", "box"}
    losses = model(tiny.inputs(2), samples(2), mode="loss")
    sum(losses.values()).backward()
    assert model.backbone.vision_head.weight.grad.any()
    assert not model.backbone.beit3.training and model.heads["box"].training


def test_a_stage_can_leave_a_part_untrained_that_another_trains():
    """Unlike the model's own ``freeze``: drop path goes on, as in the released warm-up."""
    model = tiny.build(tiny.oneref_config(heads=BOX)).train()
    everything = trained(model)
    model.enter_stage({"freeze": ["backbone.beit3"]})
    assert {name.split(".")[1] for name in trained(model)} == {"language_head", "vision_head", "box"}
    assert model.backbone.beit3.training
    model.enter_stage({})
    assert trained(model) == everything
    with pytest.raises(ValueError, match=r"freeze: nothing is called 'backbone\.beit'"):
        model.check_stage({"freeze": ["backbone.beit"]})


def test_a_clip_under_the_same_heads():
    config = {
        "type": OneRef,
        "backbone": {"type": CLIPBackbone, "size": tiny.SIZE, "similarity": True},
        "heads": BOX,
    }
    model = tiny.build(config)
    sum(model(tiny.inputs(2), tiny.samples(2), mode="loss").values()).backward()
    assert model.backbone.clip.text_projection.weight.grad.any()
    assert set(model.eval()(tiny.inputs(2))) >= {"similarity", "language_cls", "pred_boxes"}


def test_starting_from_another_task_names_what_is_new(tmp_path):
    """RES fine-tuning from a box model: strict, unless the config says what the file may lack."""
    save_weights(tiny.build(tiny.oneref_config(heads=BOX)), tmp_path / "rec.safetensors")
    joint = tiny.build(tiny.oneref_config(heads=BOX | MASK), seed=1)
    with pytest.raises(WeightError, match=r"missing in the file:\n  heads\.mask\.convolutions\.0\.weight"):
        load_weights(joint, tmp_path / "rec.safetensors")
    load_weights(joint, tmp_path / "rec.safetensors", allow_missing=["heads.mask.*"])
    config = tiny.oneref_config(heads=MASK)
    config["backbone"] = {**config["backbone"], "weights": str(tmp_path / "rec.safetensors")}
    masks = tiny.build(config, seed=2)
    for name, value in masks.backbone.state_dict().items():
        assert torch.equal(value, joint.backbone.state_dict()[name]), name


def test_weights_of_hivg_do_not_fit(tmp_path):
    save_weights(tiny.build(tiny.hivg_config()), tmp_path / "hivg.safetensors")
    with pytest.raises(WeightError, match="another family or size"):
        load_weights(tiny.build(tiny.oneref_config()), tmp_path / "hivg.safetensors")
    with pytest.raises(WeightError, match="no BEiT-3 in it"):
        BEiT3Backbone(tiny.BEIT3_SIZE, weights=tmp_path / "hivg.safetensors")


def test_a_vocabulary_of_another_model_is_refused_when_the_model_is_built():
    words = {"type": SentencePieceTokenizer, "model": "model_zoo/refshapes/refshapes.spm"}
    preprocessor = {"type": ReferringPreprocessor, "tokenizer": words}
    config = tiny.oneref_config(heads=BOX) | {"data_preprocessor": preprocessor}
    with pytest.raises(
        TokenizerError, match=r"refshapes.spm: this vocabulary has 202 ids, but .* has .* rows"
    ):
        tiny.build(config)
