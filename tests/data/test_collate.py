"""Samples become a batch; unequal canvases stay consistent."""

import numpy as np
import pytest
import torch
from sample_factory import make_sample

from refkit.data.collate import collate
from refkit.data.transforms import Letterbox
from refkit.structures import Frame, ReferringSample


def test_equal_canvases_are_stacked():
    rng = np.random.default_rng(0)
    samples = [Letterbox(64)(make_sample(80, 60, seed=seed), rng) for seed in range(3)]
    batch = collate(samples)
    images, padding = batch["inputs"]["images"], batch["inputs"]["padding"]
    assert images.shape == (3, 3, 64, 64)
    assert images.dtype == torch.uint8
    assert padding.dtype == torch.bool
    for row, sample in enumerate(samples):
        assert np.array_equal(images[row].numpy(), sample.image.transpose(2, 0, 1))
        assert np.array_equal(padding[row].numpy(), sample.padding)
        assert batch["data_samples"][row].image is None
        assert batch["data_samples"][row].padding is None
        assert np.array_equal(batch["data_samples"][row].masks, sample.masks)
        assert sample.image is not None


def test_unequal_canvases_are_padded_with_frame_and_masks():
    samples = [make_sample(80, 60), make_sample(40, 70, [[1, 2, 30, 60]])]
    batch = collate(samples)
    images, padding = batch["inputs"]["images"], batch["inputs"]["padding"]
    assert images.shape == (2, 3, 70, 80)
    assert padding[0, 60:].all()
    assert not padding[0, :60].any()
    assert padding[1, :, 40:].all()
    assert not images[1, :, :, 40:].any()
    for before, after in zip(samples, batch["data_samples"], strict=True):
        assert after.frame.canvas == (80, 70)
        assert after.masks.shape == (1, 70, 80)
        assert np.array_equal(after.boxes, before.boxes)
        assert np.allclose(after.original_boxes, before.boxes)


def test_no_padding_is_a_false_mask():
    assert not collate([make_sample()])["inputs"]["padding"].any()


def test_empty_batches_are_refused():
    with pytest.raises(ValueError, match="empty batch"):
        collate([])


def test_a_canvas_that_samples_share_is_stacked_once():
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 255, (8, 8, 3), np.uint8) for _ in range(2))
    frame = Frame.identity(8, 8)
    pixels = [first, second, first.copy(), first.copy()]
    samples = [ReferringSample(str(i), "x", frame, image=image) for i, image in enumerate(pixels)]
    samples[3].padding = np.eye(8, dtype=bool)
    shared, apart = collate(samples, share=True)["inputs"], collate(samples)["inputs"]
    assert shared["image_index"].tolist() == [0, 1, 0, 2]
    assert shared["images"].shape == (3, 3, 8, 8)
    for name in ("images", "padding"):
        assert (shared[name][shared["image_index"]] == apart[name]).all()
    assert "image_index" not in apart
