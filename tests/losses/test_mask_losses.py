from __future__ import annotations

import numpy as np
import pytest
import torch

from refkit.losses.masks import dice, focal


def test_both_equal_the_released_code(repository):
    golden = np.load(repository / "tests/golden/hivg_rtcc.npz")
    logits, target = torch.tensor(golden["rtcc_logits"]), torch.tensor(golden["target_tokens"])
    assert float(20 * focal(logits, target)) == pytest.approx(float(golden["loss_rtcc_focal"]), abs=1e-6)
    assert float(2 * dice(logits, target)) == pytest.approx(float(golden["loss_rtcc_dice"]), abs=1e-6)


def test_right_maps_cost_next_to_nothing_and_wrong_ones_a_lot():
    target = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    right, wrong = (target * 2 - 1) * 12, (1 - target * 2) * 12
    assert float(focal(right, target)) < 1e-6 < 1 < float(focal(wrong, target))
    assert float(dice(right, target)) < 1e-3 < 0.5 < float(dice(wrong, target))


def test_extreme_logits_keep_finite_gradients():
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    (focal(logits, torch.tensor([[0.0, 1.0]])) + dice(logits, torch.tensor([[0.0, 1.0]]))).backward()
    assert torch.isfinite(logits.grad).all()
