from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from refkit.losses.mask_referring import (
    cosine_distance,
    mean_without_worst,
    relation_divergence,
    relation_l1,
    smoothed_divergence,
    visual_relation,
)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothed_divergence_is_the_divergence_from_the_smoothed_label(smoothing):
    logits, labels = torch.randn(5, 7, dtype=torch.float64), torch.tensor([0, 6, 3, 3, 1])
    target = torch.full((5, 7), smoothing / 6, dtype=torch.float64)
    target[range(5), labels] = 1 - smoothing
    expected = F.kl_div(logits.log_softmax(dim=1), target, reduction="none").sum(dim=1)
    torch.testing.assert_close(
        smoothed_divergence(logits, labels, smoothing).double(), expected, rtol=0, atol=1e-5
    )


def test_smoothed_divergence_is_zero_at_its_target():
    target = torch.full((1, 4), 0.1 / 3)
    target[0, 2] = 0.9
    assert smoothed_divergence(target.log(), torch.tensor([2])).abs() < 1e-6


def test_the_worst_are_left_out_by_the_published_count():
    losses = torch.tensor([5.0, 1.0, 9.0, 2.0, 3.0, 4.0])
    assert mean_without_worst(losses, 0.2) == 2.5  # int(0.8 * 6) = 4 of 6
    assert mean_without_worst(losses, 0.0) == 4.0
    assert mean_without_worst(losses[:1], 0.2) == 0.0  # int(0.8) = 0
    empty = torch.zeros(0, requires_grad=True)
    mean_without_worst(empty, 0.0).backward()
    assert empty.grad is not None


def test_visual_relation_by_the_released_double_loop():
    boxes, (rows, columns) = torch.tensor([[0.4, 0.6, 0.3, 0.5], [0.9, 0.1, 0.01, 0.2]]), (3, 4)
    target = visual_relation(boxes, (rows, columns)).view(2, rows, columns, 4)
    for index, (cx, cy, w, h) in enumerate(boxes.tolist()):
        for j in range(rows):
            for i in range(columns):
                expected = [
                    (i - cx * columns) / columns,
                    (j - cy * rows) / rows,
                    1 / max(w * columns, 1),
                    1 / max(h * rows, 1),
                ]
                torch.testing.assert_close(target[index, j, i], torch.tensor(expected), rtol=0, atol=1e-6)


def test_visual_relation_loss_sums_channels_and_averages_patches():
    pred, target = torch.zeros(2, 3, 4), torch.zeros(2, 3, 4)
    pred[0, 1] = torch.tensor([1.0, -2.0, 0.5, 0.0])
    assert relation_l1(pred, target) == pytest.approx(3.5 / 6)


def test_double_softmax_is_the_released_expression():
    logits, scores = torch.randn(2, 6), torch.rand(2, 6)
    expected = F.kl_div(
        logits.softmax(dim=1).log_softmax(dim=1), scores.softmax(dim=1), reduction="batchmean"
    )
    everything = torch.ones(2, 6, dtype=torch.bool)
    torch.testing.assert_close(relation_divergence(logits, scores, everything, "double"), expected)


def test_single_softmax_can_reach_zero_and_the_double_one_cannot():
    scores = torch.tensor([[9.0, 0.0, 0.0]])
    everything = torch.ones(1, 3, dtype=torch.bool)
    assert relation_divergence(scores, scores, everything, "single").abs() < 1e-6
    assert relation_divergence(100 * scores, scores, everything, "double") > 0.5


def test_positions_that_do_not_count_change_nothing():
    logits = torch.randn(2, 5, requires_grad=True)
    scores, counted = torch.rand(2, 5), torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]).bool()
    loss = relation_divergence(logits, scores, counted)
    alone = relation_divergence(logits[:1, :3], scores[:1, :3], counted[:1, :3])
    torch.testing.assert_close(loss, alone / 2)  # the sentence without words counts as 0
    loss.backward()
    assert logits.grad.isfinite().all() and not logits.grad[~counted].any() and logits.grad[0, :3].any()


def test_cosine_distance():
    a = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    assert cosine_distance(a, a) == 0
    assert cosine_distance(a, -a) == 2
    assert cosine_distance(a, a.flip(0)) == 1
