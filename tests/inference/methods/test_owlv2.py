"""OWLv2: boxes are fractions of the square that holds the picture in its upper left corner."""

import numpy as np
from PIL import Image


def test_boxes_lie_on_the_padded_square(load, samples, forward):
    peer = load("owlv2", boxes=4)
    for one, answer in zip(samples, peer.answer(samples), strict=True):
        inputs = peer.method.processor(
            images=Image.fromarray(one.image), text=[[one.text]], return_tensors="pt"
        )
        outputs = forward(peer.method.model, **inputs)
        scores = outputs.logits[0, :, 0].sigmoid().numpy()
        order = np.argsort(-scores, kind="stable")
        x, y, w, h = outputs.pred_boxes[0].numpy()[order].T * max(one.image.shape)
        corners = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
        np.testing.assert_allclose(answer.boxes, corners, atol=1e-3)
        np.testing.assert_allclose(answer.scores, scores[order], atol=1e-6)
        [found] = peer.method.processor.post_process_grounded_object_detection(
            outputs, threshold=0.0, target_sizes=[one.image.shape[:2]]
        )
        np.testing.assert_allclose(answer.boxes, found["boxes"].numpy()[order], atol=1e-3)


def test_a_high_threshold_means_nothing_is_there(load, samples):
    answer = load("owlv2", threshold=0.9999999).answer(samples[:1])[0]
    assert (answer.boxes.shape, answer.scores.shape, answer.status) == ((0, 4), (0,), "ok")
