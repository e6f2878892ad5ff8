"""Grounding DINO against the post-processing of transformers."""

import numpy as np
from PIL import Image


def test_boxes_are_those_of_the_librarys_own_reading(load, samples, forward):
    peer = load("grounding-dino", boxes=5)
    model, processor = peer.method.model, peer.method.processor
    for one, answer in zip(samples, peer.answer(samples), strict=True):
        inputs = processor(images=Image.fromarray(one.image), text=f"{one.text}.", return_tensors="pt")
        [found] = processor.post_process_grounded_object_detection(
            forward(model, **inputs), inputs["input_ids"], threshold=0.0, target_sizes=[one.image.shape[:2]]
        )
        order = np.argsort(-found["scores"].numpy(), kind="stable")
        np.testing.assert_allclose(answer.scores, found["scores"].numpy()[order], atol=1e-6)
        np.testing.assert_allclose(answer.boxes, found["boxes"].numpy()[order], atol=1e-3)


def test_threshold_and_number_of_boxes(load, samples):
    every = load("grounding-dino", boxes=5).answer(samples[:1])[0]
    assert len(load("grounding-dino", boxes=2).answer(samples[:1])[0].boxes) == 2
    middle = float(every.scores[2])
    kept = load("grounding-dino", boxes=5, threshold=middle).answer(samples[:1])[0]
    np.testing.assert_array_equal(kept.boxes, every.boxes[every.scores > middle])


def test_case_and_full_stop_make_no_difference(load, samples):
    peer = load("grounding-dino")
    one = samples[0]
    plain = peer.answer([one])[0]
    one.text = " The RED dog. "
    np.testing.assert_allclose(peer.answer([one])[0].boxes, plain.boxes, atol=1e-4)
