"""SAM as a refiner: the mask of a box, features kept for a picture."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_peers import save_peer

from refkit import rle
from refkit.inference.peers.pretrained import locate_pretrained
from refkit.inference.peers.sam import SamRefiner, SamSettings
from refkit.structures import Prediction

BOXES = np.array([[10.0, 8.0, 40.0, 30.0], [50.0, 20.0, 78.0, 55.0]])


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return locate_pretrained(str(save_peer("sam", tmp_path_factory.mktemp("sam") / "tiny")))


@pytest.fixture
def refiner(weights):
    def refiner(boxes="best"):
        return SamRefiner(weights, SamSettings(boxes=boxes), torch.device("cpu"))

    return refiner


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)


def own_masks(refiner, picture, boxes):
    """What model and processor say when they are called as their documentation shows."""
    inputs = refiner.processor(
        images=Image.fromarray(picture), input_boxes=[boxes.tolist()], return_tensors="pt"
    )
    inputs["input_boxes"] = inputs["input_boxes"].float()
    with torch.inference_mode():
        outputs = refiner.model(
            **{k: inputs[k] for k in ("pixel_values", "input_boxes")}, multimask_output=False
        )
    masks = refiner.processor.post_process_masks(
        outputs.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )[0]
    return masks[:, 0].numpy()


def test_the_best_box_gives_the_mask_and_stays(refiner, picture):
    refine = refiner()
    given = Prediction("a", BOXES, np.array([0.9, 0.3]), raw="x")
    with torch.inference_mode():
        found = refine.refine(picture, given)
    assert (found.id, found.raw, given.mask) == ("a", "x", None)
    np.testing.assert_array_equal(found.boxes, BOXES)
    np.testing.assert_array_equal(rle.decode(found.mask), own_masks(refine, picture, BOXES[:1])[0])


def test_all_boxes_give_one_mask(refiner, picture):
    refine = refiner("all")
    with torch.inference_mode():
        found = refine.refine(picture, Prediction("a", BOXES))
    both = own_masks(refine, picture, BOXES)
    assert (both[0] != both[1]).any()
    np.testing.assert_array_equal(rle.decode(found.mask), both.any(axis=0))


@pytest.mark.parametrize("boxes", [None, np.zeros((0, 4)), np.array([[np.nan, 1, 2, 3]])])
def test_without_a_box_there_is_no_mask(refiner, picture, boxes):
    old = rle.encode(np.ones((60, 80), bool))
    assert refiner().refine(picture, Prediction("a", boxes, mask=old)).mask is None


def test_features_are_computed_once_per_picture(refiner, picture):
    refine, calls = refiner(), []
    refine.model.vision_encoder.register_forward_hook(lambda *_: calls.append(1))
    other = picture[:, ::-1].copy()
    with torch.inference_mode():
        first = refine.refine(picture, Prediction("a", BOXES))
        refine.refine(picture.copy(), Prediction("b", BOXES[1:]))
        assert len(calls) == 1
        refine.refine(other, Prediction("c", BOXES))
        assert len(calls) == 2
        assert refine.refine(picture, Prediction("a", BOXES)).mask == first.mask
