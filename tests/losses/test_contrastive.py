from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from refkit.losses.contrastive import (
    contrast_logits,
    image_text_contrast,
    region_text_contrast,
    symmetric_contrast,
)


def test_published_value(repository):
    golden = np.load(repository / "tests/golden/hivg_losses.npz")
    actual = image_text_contrast(torch.from_numpy(golden["logits_per_text"]))
    assert actual.item() == pytest.approx(float(golden["loss_contrastive"]), abs=1e-6)


def test_one_positive_each_is_cross_entropy():
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    target = torch.arange(5)
    expected = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    torch.testing.assert_close(image_text_contrast(logits), expected)


def test_several_positives_by_hand():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.5, 3.0]])
    positives = torch.tensor([[True, True, False], [False, False, True]])
    rows, columns = logits.log_softmax(1), logits.log_softmax(0)
    forward = -((rows[0, 0] + rows[0, 1]) / 2 + rows[1, 2]) / 2
    backward = -(columns[0, 0] + columns[0, 1] + columns[1, 2]) / 3
    torch.testing.assert_close(symmetric_contrast(logits, positives), (forward + backward) / 2)


def test_rows_without_positives_only_serve_as_negatives():
    logits = torch.randn(3, 2, generator=torch.Generator().manual_seed(1))
    positives = torch.tensor([[True, False], [False, True], [False, False]])
    without = symmetric_contrast(logits[:2], positives[:2])
    assert symmetric_contrast(logits, positives) > without  # the third row adds to the columns' denominators
    assert symmetric_contrast(logits, torch.zeros_like(positives)) == 0
    assert symmetric_contrast(logits[:0, :0], positives[:0, :0]) == 0


def test_lengths_do_not_matter_and_the_scale_does():
    generator = torch.Generator().manual_seed(2)
    regions, texts = torch.randn(4, 6, generator=generator), torch.randn(3, 6, generator=generator)
    positives = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]) > 0
    loss = region_text_contrast(regions, texts, positives, 10.0)
    torch.testing.assert_close(loss, region_text_contrast(3 * regions, 0.1 * texts, positives, 10.0))
    assert not torch.isclose(loss, region_text_contrast(regions, texts, positives, 20.0))
    cosine = F.cosine_similarity(regions[:, None], texts[None], dim=-1)
    torch.testing.assert_close(contrast_logits(regions, texts, 10.0), 10 * cosine)


def test_stays_in_float32_under_autocast():
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(4, 64, generator=generator), torch.randn(4, 64, generator=generator)
    exact = contrast_logits(a, b, 100.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(contrast_logits(a, b, 100.0), exact)
