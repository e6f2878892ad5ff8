"""The box from patches weighted by similarity, and the constraint on that similarity."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from refkit.heads import SimilarityBoxHead, SimilarityConstraintHead
from refkit.heads.region_text import box_map
from refkit.losses.masks import dice, focal
from refkit.structures import Features, Frame, ReferringSample

GRID = (4, 6)


def features(similarity=True):
    generator = torch.Generator().manual_seed(0)
    visual = torch.randn(2, 24, 16, generator=generator)
    cosine = torch.rand(2, 24, generator=generator) * 2 - 1
    return Features(
        visual=visual,
        visual_mask=torch.ones(2, 24, dtype=torch.bool),
        grid=GRID,
        similarity=cosine if similarity else None,
    )


def samples(box=(16, 16, 48, 32)):
    frame = Frame.identity(96, 64)
    boxes = np.array([box], np.float32)
    return [ReferringSample(name, "x", frame, boxes=boxes) for name in "ab"]


@pytest.fixture
def head():
    torch.manual_seed(0)
    return SimilarityBoxHead(width=16)


@torch.no_grad()
def test_pooling_first_equals_projecting_every_patch(head):
    """The published order: project all patches, then average them with the softmax of the cosines."""
    given = features()
    weights = given.similarity.softmax(dim=1)
    pooled = torch.einsum("bn,bnc->bc", weights, head.projection(given.visual))
    named = head.tensors(given)
    torch.testing.assert_close(named["pooled"], pooled, rtol=0, atol=1e-6)
    torch.testing.assert_close(named["token_weights"], weights)
    torch.testing.assert_close(named["box_logits"], head.layers(pooled), rtol=0, atol=1e-6)
    torch.testing.assert_close(named["pred_boxes"], named["box_logits"].sigmoid())
    assert weights.max() / weights.min() < np.exp(2) + 1e-3  # the weights can differ by that much only


def test_losses_have_weight_one(head):
    losses = head.loss(features(), samples())
    doubled = SimilarityBoxHead(width=16, box_weight=2.0, giou_weight=3.0)
    doubled.load_state_dict(head.state_dict())
    again = doubled.loss(features(), samples())
    predicted = head.tensors(features())["pred_boxes"]
    target = torch.tensor([32 / 96, 24 / 64, 32 / 96, 16 / 64])
    expected = (predicted - target).abs().sum(dim=1).mean()
    torch.testing.assert_close(losses["loss_bbox"], expected)
    torch.testing.assert_close(again["loss_bbox"], 2 * losses["loss_bbox"])
    torch.testing.assert_close(again["loss_giou"], 3 * losses["loss_giou"])


def test_it_says_what_is_missing(head):
    with pytest.raises(ValueError, match=r"similarity box head needs features\.similarity: BEiT3Backbone"):
        head(features(similarity=False))
    with pytest.raises(ValueError, match=r"similarity constraint needs features\.similarity"):
        SimilarityConstraintHead(width=16)(features(similarity=False))


def test_half_precision_pools_in_float32(head):
    given = features()
    with torch.autocast("cpu", torch.bfloat16):
        rough = head.tensors(given)
    assert rough["token_weights"].dtype == rough["box_logits"].dtype == torch.float32
    assert (rough["pred_boxes"] - head.tensors(given)["pred_boxes"]).abs().max() < 0.01


def test_the_constraint_is_focal_and_dice_on_the_cosines():
    given, head = features(), SimilarityConstraintHead(width=16)
    target = torch.zeros(2, *GRID)
    target[:, 1, 1:3] = 1  # patches of 16 pixels whose corner lies in the box
    losses = head.loss(given, samples())
    flat = target.flatten(1)
    torch.testing.assert_close(losses["loss_mrm_focal"], 20 * focal(given.similarity, flat))
    torch.testing.assert_close(losses["loss_mrm_dice"], 2 * dice(given.similarity, flat))
    assert not list(head.parameters()) and not head.answers
    assert torch.equal(head.tensors(given)["similarity"], given.similarity)


def test_a_box_between_two_corners_leaves_an_empty_map():
    """As published: down-sampling can lose a tiny target; the losses stay finite."""
    losses = SimilarityConstraintHead(width=16).loss(features(), samples((17, 17, 31, 31)))
    assert all(torch.isfinite(value) for value in losses.values())


def test_a_scale_sharpens_weights_and_losses(head):
    given = features()
    head.scale = 8.0
    torch.testing.assert_close(head.weights(given), (8 * given.similarity).softmax(dim=-1))
    plain, sharp = SimilarityConstraintHead(width=8), SimilarityConstraintHead(width=8, scale=8.0)
    target = torch.from_numpy(box_map(samples(), given.grid, 0.0))
    expected = plain.losses(8 * given.similarity, target)
    for name, value in sharp.loss(given, samples()).items():
        torch.testing.assert_close(value, expected[name])
    torch.testing.assert_close(sharp(given), given.similarity)  # what it hands out are cosines still


def test_a_threshold_shifts_the_losses_only():
    given = features()
    head, plain = SimilarityConstraintHead(width=8, threshold=0.5), SimilarityConstraintHead(width=8)
    target = torch.from_numpy(box_map(samples(), given.grid, 0.0))
    assert head.loss(given, samples()) == plain.losses(given.similarity - 0.5, target)
    torch.testing.assert_close(head(given), given.similarity)
