"""MRefM: which step hides what, where targets come from, switches, and what fine-tuning takes from it."""

from __future__ import annotations

import copy

import pytest
import tiny_models as tiny
import torch
from safetensors.torch import load_file

from refkit.backbones import VQKD, BEiT3Backbone, CLIPBackbone
from refkit.backbones.inputs import InputError
from refkit.backbones.relation_teacher import BEiT3Teacher, CLIPTeacher
from refkit.heads import MaskedImageHead, MaskedTextHead, SimilarityBoxHead
from refkit.models import MRefM
from refkit.models.frozen import raw_pixels
from refkit.zoo.weights import load_weights, save_weights

IMAGE = {"loss_mrm_focal", "loss_mrm_dice", "loss_mim", "mim_accuracy"}
TEXT = {"loss_mrm_focal", "loss_mrm_dice", "loss_mlm", "mlm_accuracy"}


@pytest.fixture
def batch():
    return tiny.masked_inputs(4), tiny.samples(4)


def build(**changes):
    return tiny.build(tiny.mrefm_config(**changes)).eval()


def losses_at(model, step, batch):
    model.enter_step(step)
    return model(*batch, mode="loss")


def test_even_steps_hide_patches_and_odd_steps_words(batch):
    model = build()
    assert [set(losses_at(model, step, batch)) for step in range(4)] == [IMAGE, TEXT, IMAGE, TEXT]


def test_what_is_hidden_changes_what_the_backbone_sees(batch):
    inputs, _ = batch
    model = build()
    patches, words = (model.features(model.hide(inputs, kind)) for kind in ("patches", "words"))
    plain = model.features({name: inputs[name] for name in ("images", "token_ids")})
    assert not torch.allclose(patches.visual, plain.visual) and not torch.allclose(words.text, plain.text)
    shown = inputs | {"patch_masked": torch.zeros_like(inputs["patch_masked"])}
    torch.testing.assert_close(model.features(model.hide(shown, "patches")).visual, plain.visual)
    shown = inputs | {"masked_token_ids": inputs["token_ids"]}
    torch.testing.assert_close(model.features(model.hide(shown, "words")).text, plain.text)


def test_padding_is_that_of_the_text_before_it_was_masked(batch):
    """A word may be replaced by any id, that of padding included; the key mask must not notice."""
    inputs, _ = batch
    model = build()
    replaced = inputs["masked_token_ids"].clone()
    replaced[0, 1] = 0
    seen = model.hide({**inputs, "masked_token_ids": replaced}, "words")
    assert torch.equal(seen["token_padding"], inputs["token_ids"] == 0)
    assert torch.equal(model.features(seen).text_mask, inputs["token_ids"] != 0)


def test_both_at_once_adds_up_what_both_have(batch):
    both = losses_at(build(schedule="both"), 7, batch)
    image, text = (losses_at(build(), step, batch) for step in (0, 1))
    assert set(both) == IMAGE | TEXT
    torch.testing.assert_close(both["loss_mim"], image["loss_mim"])
    torch.testing.assert_close(both["loss_mrm_focal"], image["loss_mrm_focal"] + text["loss_mrm_focal"])


def test_with_one_masked_head_every_step_is_of_its_kind(batch):
    model = build(without=["heads.masked_text"])
    assert [set(losses_at(model, step, batch)) for step in (0, 1)] == [IMAGE, IMAGE]
    model = build(without=["heads.masked_image"])
    assert [set(losses_at(model, step, batch)) for step in (0, 1)] == [TEXT, TEXT]


def test_a_stage_in_which_no_head_hides_anything_is_a_fine_tuning(batch):
    inputs, samples = batch
    model = build(without=["heads.masked_image", "heads.masked_text"])
    losses = losses_at(model, 0, batch)
    assert set(losses) == {"loss_mrm_focal", "loss_mrm_dice"}
    shown = {name: inputs[name] for name in ("images", "padding", "token_ids")}
    assert losses == model.heads["constraint"].loss(model.features(shown), samples)
    with pytest.raises(ValueError, match="no head that predicts what is hidden"):
        tiny.build(tiny.oneref_config() | {"type": MRefM})


def test_targets_are_the_codes_of_the_pixels_before_normalisation(batch):
    inputs, samples = batch
    model = build()
    pixels = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(2))
    padding = inputs["padding"]
    pixels.masked_fill_(padding[:, None], 0)
    raw = {"inputs": {"images": pixels.to(torch.uint8), "padding": padding}}
    normalised = model.data_preprocessor(raw)["inputs"]
    restored = raw_pixels(normalised, model.data_preprocessor)
    assert torch.equal(restored, pixels / 255)
    targets = model.targets.patches({**inputs, **normalised}, restored, samples, (4, 4))
    assert torch.equal(targets.codes, model.targets.codes(pixels / 255))
    assert torch.equal(raw_pixels({**normalised, "pixels": restored[:1]}, None), restored[:1])
    with pytest.raises(InputError, match="needs pixels: give the model a ReferringPreprocessor"):
        raw_pixels(normalised, None)


def test_codes_may_come_from_disk(batch, tmp_path):
    model = build(code_cache=tmp_path / "codes")
    first = losses_at(model, 0, batch)
    assert model.targets.cache_counts.misses == 4
    assert losses_at(model, 2, batch) == first and model.targets.cache_counts.hits == 4
    assert build().targets.cache_counts is None
    assert losses_at(build(), 0, batch) == first


def test_the_semantic_relation_comes_from_the_batch_or_from_a_teacher(batch, tmp_path):
    inputs, samples = batch
    with pytest.raises(ValueError, match="needs semantic_relation targets"):
        losses_at(build(preset="paper", schedule="alternate"), 1, batch)
    words = tiny.word_tokenizer(tmp_path)
    teachers = [
        {"type": BEiT3Teacher, "backbone": {"type": BEiT3Backbone, "size": tiny.BEIT3_SIZE, "pad_id": 0}},
        {
            "type": CLIPTeacher,
            "backbone": {"type": CLIPBackbone, "size": tiny.SIZE},
            "tokenizer": words,
            "spelling": words,
        },
    ]
    for teacher in teachers:
        losses = losses_at(build(preset="paper", relation_teacher=teacher), 0, batch)
        assert set(losses) == IMAGE | TEXT | {"loss_mim_vts", "loss_mlm_sts"}
        assert losses["loss_mlm_sts"] > 0
    given = {**inputs, "semantic_relation": torch.rand(4, 10)}
    model = build(relation_losses="on", relation_softmax="single")
    assert losses_at(model, 1, (given, samples))["loss_mlm_sts"] > 0


def test_presets_and_switches():
    model = build()
    assert model.switches == {
        "relation_losses": "off",
        "mlm_input": "raw",
        "relation_softmax": "double",
        "schedule": "alternate",
    }
    assert not model.heads["masked_image"].relating and model.heads["masked_text"].mlm_input == "raw"
    model = build(preset="paper", mlm_input="raw", schedule="alternate")
    assert model.heads["masked_text"].relating and model.heads["masked_text"].relation_softmax == "single"
    assert model.heads["masked_text"].mlm_input == "raw" and model.switches["schedule"] == "alternate"
    heads = tiny.mrefm_config()["heads"]
    heads["masked_text"] = {**heads["masked_text"], "mlm_input": "product"}
    assert build(heads=heads).heads["masked_text"].mlm_input == "product"  # a head's own setting wins
    with pytest.raises(ValueError, match="preset='slides'; expected one of published, paper"):
        build(preset="slides")
    with pytest.raises(ValueError, match="schedule='random'; expected one of alternate, both"):
        build(schedule="random")


def test_every_part_learns_in_one_of_the_steps(batch):
    model = build()
    for step in (0, 1):
        sum(value for name, value in losses_at(model, step, batch).items() if "loss" in name).backward()
    still = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert still == []
    assert model.backbone.beit3.vision_embed.mask_token.grad.any()


def test_tokenizer_and_teacher_belong_to_no_checkpoint(batch):
    model = build()
    plain = tiny.build({**tiny.mrefm_config(), "visual_tokenizer": None})
    assert set(model.state_dict()) == set(plain.state_dict())
    assert copy.deepcopy(model).targets.codes(torch.rand(1, 3, 32, 32)).shape == (1, 16)
    tokenizer = model.targets._tokenizer
    assert copy.deepcopy(model).targets._tokenizer is tokenizer
    model.train()
    assert not tokenizer.module.training


def test_fine_tuning_takes_backbone_and_projections(tmp_path):
    model = build()
    save_weights(model, tmp_path / "mrefm.safetensors")
    backbone = {**tiny.oneref_config()["backbone"], "weights": tmp_path / "mrefm.safetensors"}
    tuned = tiny.build(tiny.oneref_config(backbone=backbone), seed=5)
    own = model.backbone.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in tuned.backbone.state_dict().items())
    second_stage = tiny.build(tiny.mrefm_config(preset="paper"), seed=7)
    load_weights(second_stage, load_file(tmp_path / "mrefm.safetensors"))
    assert torch.equal(
        second_stage.heads["masked_text"].content.weight, model.heads["masked_text"].content.weight
    )


def test_tensor_mode_names_the_outputs_of_each_step(batch):
    inputs, _ = batch
    model = build()
    named = model({**inputs, "pixels": torch.rand(4, 3, 32, 32)})
    hidden = int(inputs["patch_masked"].sum()), int(inputs["token_masked"].sum())
    assert named["mim_logits"].shape == (hidden[0], 12) and named["mlm_logits"].shape == (hidden[1], 40)
    assert named["visual_relation_pred"].shape == (4, 16, 4) and named["vq_codes"].shape == (4, 16)
    assert named["semantic_relation_logits"].shape == (4, inputs["token_ids"].shape[1] - 2)
    assert not torch.equal(named["image_step_similarity"], named["text_step_similarity"])
    assert "similarity" in model(tiny.inputs(2)) and "image_step_similarity" not in model(tiny.inputs(2))


def test_a_box_head_learns_in_both_steps_and_answers(batch):
    heads = {**tiny.mrefm_config()["heads"], "box": {"type": SimilarityBoxHead}}
    model = build(heads=heads)
    for step in (0, 1):
        assert {"loss_bbox", "loss_giou"} <= set(losses_at(model, step, batch))
    assert model(*batch, mode="predict")[0].boxes.shape == (1, 4)
    with pytest.raises(ValueError, match="none of the heads of this MRefM answers"):
        build()(*batch, mode="predict")


@pytest.mark.parametrize("name", ["patch_masked", "masked_token_ids", "token_masked"])
def test_batches_that_hide_nothing_are_refused(batch, name):
    inputs, samples = batch
    inputs.pop(name)
    with pytest.raises(InputError, match=f"inputs have no '{name}'.*put the masking transforms"):
        losses_at(build(), 0 if name == "patch_masked" else 1, (inputs, samples))


def test_parts_that_do_not_fit_each_other_are_refused(batch):
    heads = tiny.mrefm_config()["heads"]
    with pytest.raises(ValueError, match=r"heads\.masked_image: codes=8192, but the visual tokenizer has 12"):
        build(heads={**heads, "masked_image": {"type": MaskedImageHead}})
    with pytest.raises(ValueError, match=r"heads\.masked_text: vocabulary=64010, but the backbone has 40"):
        build(heads={**heads, "masked_text": {"type": MaskedTextHead}})
    coarse = {"type": VQKD, "size": {**tiny.VQKD_SIZE, "patch_size": 16}}
    with pytest.raises(InputError, match="gives 4 codes per picture, but 16 patches can be hidden"):
        losses_at(build(visual_tokenizer=coarse), 0, batch)
    with pytest.raises(ValueError, match="no visual_tokenizer is there"):
        losses_at(build(visual_tokenizer=None), 0, batch)
