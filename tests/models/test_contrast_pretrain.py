from __future__ import annotations

import math

import pytest
import tiny_models as tiny
import torch

from refkit.models.contrast_pretrain import _regions, patch_coverage


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.word_tokenizer(tmp_path_factory.mktemp("words"))


@pytest.fixture
def model(tokenizer):
    return tiny.build(tiny.pretrain_config(tokenizer)).eval()


def test_coverage_by_hand():
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 1.0, 1.5, 2.0], [0.0, 0.0, 3.0, 2.0]])
    weights = patch_coverage(boxes, (2, 3)).view(3, 2, 3)
    assert weights[0].tolist() == [[1, 0, 0], [0, 0, 0]]
    assert weights[1].tolist() == [[0, 0, 0], [0.5, 0.5, 0]]
    torch.testing.assert_close(weights[2], torch.full((2, 3), 1 / 6))
    assert not patch_coverage(torch.zeros(1, 4), (2, 3)).any()


def test_regions_are_means_of_covered_patches(model):
    samples = tiny.samples(2, boxes=2)
    samples[0].boxes[1] = (8, 16, 16, 24)  # exactly the patch in row 2, column 1
    _, patches, grid = model.see(tiny.inputs(2))
    regions = _regions(patches, grid, samples)
    assert regions.shape == (4, 32)
    torch.testing.assert_close(regions[1], patches[0, 2 * 4 + 1], rtol=0, atol=1e-6)


def test_each_branch_of_beit3_alone_is_what_it_says_when_the_other_has_nothing():
    backbone = tiny.build(tiny.oneref_config()["backbone"]).eval()
    inputs = tiny.inputs(2)
    words = inputs["token_ids"]
    real = words != backbone.pad_id
    seen, said = backbone.see(inputs["images"]), backbone.read(words, real)
    assert seen.shape[1] == 1 + math.prod(backbone.size.grid) and said.shape[:2] == words.shape
    torch.testing.assert_close(seen.norm(dim=-1), torch.ones(seen.shape[:2]))
    cut = int(real.sum(dim=1).max())
    torch.testing.assert_close(backbone.read(words[:, :cut], real[:, :cut])[real[:, :cut]], said[real])


def test_equal_captions_are_positives_of_each_other(model):
    regions = torch.randn(3, 32)
    logits, positives = model._match(regions, ["red dog", "blue cat", "red dog"], torch.tensor(10.0))
    assert logits.shape == (3, 2)
    assert positives.tolist() == [[False, True], [True, False], [False, True]]


def test_it_learns_which_caption_goes_with_which_region(tokenizer):
    model = tiny.build(tiny.pretrain_config(tokenizer)).train()
    inputs, samples = tiny.inputs(4), tiny.samples(4, boxes=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(40):
        losses = model(inputs, samples, mode="loss")
        optimizer.zero_grad()
        (losses["loss_image_text"] + losses["loss_region_text"]).backward()
        optimizer.step()
    assert model(inputs, samples, mode="loss")["region_accuracy"] >= 0.75


def test_a_batch_without_boxes_still_contrasts_pictures(model):
    samples = tiny.samples(3, boxes=0)
    losses = model(tiny.inputs(3), samples, mode="loss")
    assert losses["loss_region_text"] == 0 and losses["loss_image_text"] > 0


def test_weights_of_the_losses(tokenizer):
    plain = tiny.build(tiny.pretrain_config(tokenizer)).eval()
    double = tiny.build(tiny.pretrain_config(tokenizer, image_weight=2.0, region_weight=0.5)).eval()
    inputs, samples = tiny.inputs(2), tiny.samples(2, boxes=2)
    a, b = plain(inputs, samples, mode="loss"), double(inputs, samples, mode="loss")
    torch.testing.assert_close(b["loss_image_text"], 2 * a["loss_image_text"])
    torch.testing.assert_close(b["loss_region_text"], a["loss_region_text"] / 2)


def test_captions_must_match_the_boxes(model):
    samples = tiny.samples(2, boxes=2)
    samples[1].meta["captions"] = ["red dog"]
    with pytest.raises(ValueError, match=r"sample 's1' has 2 boxes and 1 captions in meta\['captions'\]"):
        model(tiny.inputs(2), samples, mode="loss")


def test_it_says_that_it_cannot_predict(model):
    with pytest.raises(ValueError, match="no head to predict with"):
        model(tiny.inputs(1), tiny.samples(1), mode="predict")


def test_named_tensors(model):
    named = model(tiny.inputs(3))
    assert named["logits_per_text"].shape == (3, 3)
    cosine = torch.nn.functional.cosine_similarity(named["text_embed"][0], named["image_embed"][1], dim=0)
    torch.testing.assert_close(named["logits_per_text"][0, 1], cosine * model.backbone.scale)
