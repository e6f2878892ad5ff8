from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import box_convert, generalized_box_iou

from refkit.losses.boxes import generalized_iou, giou, l1, smooth_l1


@pytest.fixture
def golden(repository):
    values = np.load(repository / "tests/golden/hivg_losses.npz")
    return {name: torch.from_numpy(values[name]) for name in values}


def corners(count, seed):
    low = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed))
    size = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed + 100)) + 0.01
    return torch.cat((low, low + size), dim=1)


def test_published_values(golden):
    pred, target = golden["pred_boxes"], golden["target_boxes"]
    boxes = [box_convert(each, "cxcywh", "xyxy") for each in (pred, target)]
    torch.testing.assert_close(2 * l1(pred, target), golden["loss_bbox"], rtol=0, atol=1e-6)
    torch.testing.assert_close(2 * giou(*boxes), golden["loss_giou"], rtol=0, atol=1e-6)


def test_generalized_iou_equals_torchvision():
    a, b = corners(50, 0), corners(50, 1)
    expected = generalized_box_iou(a, b).diagonal()
    torch.testing.assert_close(generalized_iou(a, b), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(giou(a, b), 1 - expected.mean(), rtol=0, atol=1e-6)
    torch.testing.assert_close(generalized_iou(a, a), torch.ones(50))


def test_smooth_l1_is_quadratic_below_beta():
    pred, target = torch.tensor([[0.1, 0.0, 3.0, 0.0]]), torch.zeros(1, 4)
    assert smooth_l1(pred, target).item() == pytest.approx(0.1**2 / 2 + 3 - 0.5)
    assert smooth_l1(pred, target, beta=0.05).item() == pytest.approx(0.1 - 0.025 + 3 - 0.025)


@pytest.mark.parametrize("loss", [l1, smooth_l1, giou])
def test_reductions_are_means_over_boxes(loss):
    a, b = corners(3, 2), corners(3, 3)
    single = torch.stack([loss(a[i : i + 1], b[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(loss(a, b), single.mean())
    assert loss(a[:0], b[:0]) == 0


def test_boxes_without_area_are_safe():
    points = torch.tensor(
        [[0.3, 0.3, 0.3, 0.3], [0.5, 0.5, 0.5, 0.5], [0.1, 0.2, 0.4, 0.2]], requires_grad=True
    )
    targets = torch.tensor([[0.3, 0.3, 0.3, 0.3], [0.1, 0.1, 0.2, 0.2], [0.1, 0.2, 0.4, 0.2]])
    values = generalized_iou(points, targets)
    values.sum().backward()
    assert torch.isfinite(values).all() and (values.abs() <= 1).all()
    assert torch.isfinite(points.grad).all()


def test_half_precision_is_computed_in_float32():
    a, b = corners(8, 4).bfloat16(), corners(8, 5).bfloat16()
    assert giou(a, b).dtype == torch.float32
    torch.testing.assert_close(l1(a, b), F.l1_loss(a.float(), b.float(), reduction="sum") / 8)
