"""HiVG's evaluation transform: refkit's chain against numbers from the released code."""

import json

import numpy as np
import pytest

from refkit.data.collate import collate
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.data.transforms import Compose, Letterbox, TruncateBoxes
from refkit.data.transforms.primitives import degenerate
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


TRAINING = [
    dict(type="TruncateBoxes"),
    dict(
        type="UnlessPlaceWords",
        published=True,
        transforms=[
            dict(
                type="RandomApply",
                p=0.5,
                transforms=[
                    dict(type="RandomResize", choices=[400, 500, 600], side="short"),
                    dict(type="RandomCrop", min_size=384, max_size=600, published=True),
                ],
            )
        ],
    ),
    dict(type="RandomResize", choices=[224, 192, 160, 128, 96, 64, 32]),
    dict(type="ColorJitter"),
    dict(type="Pad", size=224, mode="random"),
]


@pytest.mark.parametrize(("text", "crops"), [("dog with laptop", False), ("black dog", True)])
def test_training_chain(text, crops):
    """The published recipe out of refkit's pieces: half of the samples without a word of place are cropped."""
    pixels = np.full((240, 320, 3), 200, np.uint8)
    sample = ReferringSample(
        "case", text, Frame.identity(320, 240), pixels, np.array([[120.5, 80.5, 200, 160]], np.float32)
    )
    chain = Compose(TRAINING)
    after = [chain(sample, np.random.default_rng((0, seed))) for seed in range(60)]
    sizes = {int((~result.padding).any(axis=0).sum()) for result in after}
    aspects = [(~result.padding).any(axis=1).sum() / (~result.padding).any(axis=0).sum() for result in after]
    cropped = sum(abs(aspect - 0.75) > 0.03 for aspect in aspects)
    assert all(result.image.shape == (224, 224, 3) for result in after)
    assert not any(degenerate(result.boxes).any() for result in after)
    assert sizes >= {224, 192, 160, 128, 96, 64, 32}
    assert (15 < cropped < 40) if crops else cropped == 0
    assert all(np.ptp(result.image[~result.padding]) <= 1 for result in after)


@pytest.mark.parametrize("number", CASES)
def test_boxes_are_truncated_as_released(golden, number):
    case = golden[0][number]
    boxes = TruncateBoxes()(build(case), np.random.default_rng(0)).boxes
    assert boxes[0].tolist() == case["box_int_xyxy"]
