"""Florence-2: a small one that has learnt an answer gives it; answers are read as they should be."""

import numpy as np
import pytest
import torch
from tiny_peers import florence_2, teach

from refkit import rle
from refkit.inference.methods.florence_2 import read_boxes, read_polygons
from refkit.inference.peers.peer import load_peer


def save_pupil(folder, task, answer, one):
    """A model that has learnt one answer to one question."""
    torch.manual_seed(0)
    model, processor = florence_2()
    inputs = processor(images=[one.image], text=[task + one.text], return_tensors="pt")
    labels = processor.tokenizer(answer + "</s>", return_tensors="pt", add_special_tokens=False)["input_ids"]
    names = ("input_ids", "attention_mask", "pixel_values")
    teach(model.eval(), {name: inputs[name] for name in names}, labels)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("task", "prompt"),
    [("grounding", "<CAPTION_TO_PHRASE_GROUNDING>"), ("detection", "<OPEN_VOCABULARY_DETECTION>")],
)
def test_a_learnt_answer_becomes_boxes(tmp_path, samples, task, prompt):
    one = samples[0]
    answer = "a dog<loc_100><loc_200><loc_500><loc_700>"
    weights = save_pupil(tmp_path / "pupil", prompt, answer, one)
    settings = {"task": task, "max_new_tokens": "20", "num_beams": "1"}
    found = load_peer("hf:florence-2", weights, settings, "cpu").answer([one])[0]
    assert found.raw == answer
    np.testing.assert_allclose(found.boxes, [[8.04, 12.03, 40.04, 42.03]])  # bin middles of 80 x 60
    assert (found.status, found.scores, found.id) == ("ok", None, "a")


def test_a_learnt_polygon_becomes_a_mask(tmp_path, samples):
    one = samples[0]
    answer = "".join(f"<loc_{place}>" for place in (250, 251, 750, 252, 751, 753, 254, 754))
    weights = save_pupil(tmp_path / "pupil", "<REFERRING_EXPRESSION_SEGMENTATION>", answer, one)
    settings = {"task": "segmentation", "max_new_tokens": "20", "num_beams": "1"}
    found = load_peer("hf:florence-2", weights, settings, "cpu").answer([one])[0]
    assert found.raw == answer
    mask = rle.decode(found.mask)
    assert mask.shape == (60, 80)
    assert mask[16:44, 21:59].all()
    assert mask.sum() == pytest.approx(30 * 40, rel=0.1)
    np.testing.assert_allclose(found.boxes, [[20, 15, 60, 45]], atol=1)


def test_boxes_are_read_in_the_order_written():
    answer = "dog<loc_0><loc_0><loc_499><loc_999><loc_10><loc_10><loc_20><loc_20>cat<loc_5><loc_5><loc_9><loc_9><loc_7>"
    boxes = read_boxes(answer, 1000, 500).boxes
    assert boxes[:, 0].tolist() == [0.5, 10.5, 5.5]
    assert boxes[0].tolist() == [0.5, 0.25, 499.5, 499.75]


@pytest.mark.parametrize(
    "answer", ["", "a dog", "dog<loc_1><loc_2><loc_3>", '{"bbox": [1, 2, 3, 4]} [0.1,0.2,0.3,0.4]']
)
def test_what_is_no_box_is_unparsable_and_kept(answer):
    for read in (read_boxes, read_polygons):
        found = read(answer, 80, 60)
        assert (found.status, found.raw, len(found.boxes), found.mask) == ("unparsable", answer, 0, None)


def test_polygons_are_united_and_scraps_left_out():
    square = "<loc_0><loc_0><loc_499><loc_0><loc_499><loc_499><loc_0><loc_499>"
    found = read_polygons(
        f"{square}<sep><loc_1><loc_2>x<loc_700><loc_700><loc_900><loc_700><loc_900><loc_900><loc_3>", 100, 100
    )
    mask = rle.decode(found.mask)
    assert mask[1:49, 1:49].all()
    assert mask[72, 80]
    assert not mask[60:69, 60:69].any()
