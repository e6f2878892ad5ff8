"""SAM 3 against the post-processing of transformers."""

import numpy as np
import pytest
from PIL import Image

from refkit import rle


@pytest.fixture
def reading(load, forward):
    """What the library's own post-processing says about a sample, best first."""
    peer = load("sam3")

    def reading(one):
        processor = peer.method.processor
        inputs = processor(images=Image.fromarray(one.image), text=one.text, return_tensors="pt")
        outputs = forward(
            peer.method.model, **{k: v for k, v in inputs.items() if k in ("pixel_values", "input_ids", "attention_mask")}
        )  # fmt: skip
        [found] = processor.post_process_instance_segmentation(
            outputs, threshold=0.0, target_sizes=[one.image.shape[:2]]
        )
        order = np.argsort(-found["scores"].numpy(), kind="stable")
        return {key: value.numpy()[order] for key, value in found.items()}

    return reading


def test_boxes_scores_and_mask_are_those_of_the_librarys_own_reading(load, samples, reading):
    for one, answer in zip(samples, load("sam3").answer(samples), strict=True):
        found = reading(one)
        np.testing.assert_allclose(answer.scores, found["scores"], atol=1e-6)
        np.testing.assert_allclose(answer.boxes, found["boxes"], atol=1e-3)
        assert (rle.decode(answer.mask) != found["masks"][0].astype(bool)).mean() < 0.002


def test_all_instances_make_one_mask(load, samples, reading):
    answer = load("sam3", mask="all", boxes=3).answer(samples[:1])[0]
    found = reading(samples[0])
    assert len(answer.boxes) == 3
    assert (rle.decode(answer.mask) != found["masks"][:3].any(axis=0)).mean() < 0.002


def test_nothing_above_the_threshold_is_an_empty_mask(load, samples):
    answer = load("sam3", threshold=0.99).answer(samples[:1])[0]
    assert len(answer.boxes) == 0
    assert not rle.decode(answer.mask).any()
