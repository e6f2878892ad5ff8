"""HiVG's evaluation transform: refkit's chain against numbers from the released code."""

import json

import numpy as np
import pytest

from refkit.data.collate import collate
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.data.transforms import Compose, Letterbox, TruncateBoxes
from refkit.structures import Frame, ReferringSample

CASES = range(6)


@pytest.fixture(scope="module")
def golden(repository):
    folder = repository / "tests" / "golden" / "hivg"
    cases = json.loads((folder / "preprocess_cases.json").read_text())["cases"]
    return cases, np.load(folder / "preprocess_outputs.npz")


def synthetic_picture(width, height):
    """The rule that stands in preprocess_cases.json."""
    x, y, c = np.meshgrid(np.arange(width), np.arange(height), np.arange(3))
    squares = 40 * ((x // 16 + y // 16) % 2)
    return ((3 * x + 5 * y + 85 * c + x * y // 7 + squares) % 256).astype(np.uint8)


def build(case):
    width, height = case["width"], case["height"]
    x, y, box_width, box_height = case["box_xywh"]
    left, top, right, bottom = case["source_mask_extent_xyxy_inclusive"]
    mask = np.zeros((1, height, width), bool)
    mask[0, top : bottom + 1, left : right + 1] = True
    boxes = np.array([[x, y, x + box_width, y + box_height]], np.float32)
    picture = synthetic_picture(width, height)
    return ReferringSample("case", "text", Frame.identity(width, height), picture, boxes, mask)


@pytest.mark.parametrize("number", CASES)
def test_evaluation_chain(golden, number):
    cases, outputs = golden
    case = cases[number]
    sample = Compose([TruncateBoxes(), Letterbox(224)])(build(case), np.random.default_rng(0))
    batch = ReferringPreprocessor()(collate([sample]))
    image = batch["inputs"]["images"][0].numpy()
    left, top, right, bottom = sample.boxes[0] / 224
    centre = np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
    assert np.abs(image[:, ::3, ::3] - outputs[f"{number}.image"]).max() < 1e-6
    assert np.isclose(image.sum(dtype=np.float64), case["image_sum"], rtol=1e-5)
    assert np.array_equal(batch["inputs"]["padding"][0].numpy(), outputs[f"{number}.pad_mask"] == 1)
    assert np.abs(centre - outputs[f"{number}.box"]).max() < 1e-6
    assert np.array_equal(sample.masks, outputs[f"{number}.target_mask"] == 1)


@pytest.mark.parametrize("number", CASES)
def test_boxes_are_truncated_as_released(golden, number):
    case = golden[0][number]
    boxes = TruncateBoxes()(build(case), np.random.default_rng(0)).boxes
    assert boxes[0].tolist() == case["box_int_xyxy"]
