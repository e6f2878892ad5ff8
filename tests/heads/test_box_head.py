from __future__ import annotations

import numpy as np
import pytest
import torch

from refkit.heads.box import BoxHead, to_canvas_units, to_original_boxes
from refkit.structures import Features, Frame, ReferringSample


def sample(box=(10, 20, 50, 44), frame=None):
    frame = frame or Frame((640, 480), (224, 224), (0.35, 0.35), (0.0, 28.0))
    boxes = np.asarray([box], np.float32).reshape(-1, 4)
    return ReferringSample("r1", "the dog", frame, boxes=boxes)


def features(width=8, batch=1):
    return Features(
        visual=torch.zeros(batch, 4, width),
        visual_mask=torch.ones(batch, 4) > 0,
        grid=(2, 2),
        region_token=torch.randn(batch, width, generator=torch.Generator().manual_seed(0)),
    )


def test_canvas_units_by_hand():
    frame = Frame((100, 100), (200, 100))
    units = to_canvas_units([sample((20, 10, 60, 90), frame)])
    assert units.dtype == torch.float32
    torch.testing.assert_close(units, torch.tensor([[0.2, 0.5, 0.2, 0.8]]))


@pytest.mark.parametrize("scale", [(0.35, 0.35), (-0.35, 0.35)])
def test_boxes_go_there_and_back(scale):
    frame = Frame((640, 480), (224, 224), scale, (224.0 if scale[0] < 0 else 0.0, 28.0))
    original = np.array([[31.5, 40.25, 330.0, 222.0]])
    there = ReferringSample("x", "t", frame, boxes=frame.to_canvas(original).astype(np.float32))
    back = to_original_boxes(to_canvas_units([there]), [there])[0]
    assert back.dtype == np.float64
    np.testing.assert_allclose(back, original, atol=1e-3)


def test_boxes_are_clipped_to_the_picture():
    whole = torch.tensor([[0.5, 0.5, 1.0, 1.0]])  # the padded square reaches beyond the picture
    np.testing.assert_allclose(to_original_boxes(whole, [sample()])[0], [[0, 0, 640, 480]])


@pytest.mark.parametrize("count", [0, 2])
def test_other_than_one_target_is_refused(count):
    many = sample()
    many.boxes = np.repeat(many.boxes, count, axis=0)
    with pytest.raises(ValueError, match=f"sample 'r1' has {count} targets, but the box head predicts one"):
        to_canvas_units([many])


def test_a_perfect_answer_costs_nothing():
    torch.manual_seed(0)
    head = BoxHead(width=8)
    target = to_canvas_units([sample()])
    with torch.no_grad():
        head.layers[-1].weight.zero_()
        head.layers[-1].bias.copy_(torch.logit(target[0]))
    losses = head.loss(features(), [sample()])
    assert set(losses) == {"loss_bbox", "loss_giou"}
    assert all(abs(value) < 1e-5 for value in losses.values())
    prediction = head.predict(features(), [sample()])[0]
    np.testing.assert_allclose(prediction.boxes, sample().original_boxes.clip(0), atol=1e-3)
    assert prediction.status == "ok" and prediction.id == "r1"


def test_coefficients_and_the_choice_of_regression():
    torch.manual_seed(0)
    head = BoxHead(width=8)
    base = head.loss(features(), [sample()])
    head.box_weight, head.giou_weight = 6.0, 1.0
    weighted = head.loss(features(), [sample()])
    torch.testing.assert_close(weighted["loss_bbox"], 3 * base["loss_bbox"])
    torch.testing.assert_close(weighted["loss_giou"], base["loss_giou"] / 2)
    torch.manual_seed(0)
    smooth = BoxHead(width=8, regression="smooth_l1").loss(features(), [sample()])
    assert smooth["loss_bbox"] < base["loss_bbox"]
    with pytest.raises(ValueError, match="expected one of l1, smooth_l1"):
        BoxHead(width=8, regression="l3")


def test_named_outputs_and_a_missing_token():
    head = BoxHead(width=8)
    named = head.tensors(features(batch=3))
    assert named["pred_boxes"].shape == (3, 4)
    torch.testing.assert_close(named["box_logits"].sigmoid(), named["pred_boxes"])
    without = features()
    without.region_token = None
    with pytest.raises(ValueError, match=r"needs features\.region_token"):
        head(without)
    assert all(getattr(features(), field) is not None for field in BoxHead.needs)
