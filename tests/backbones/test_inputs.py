"""Tensors that do not fit a model are refused in words, in every mode of every family."""

import pytest
import tiny_models as tiny
import torch

from refkit.backbones.inputs import InputError


@pytest.fixture(scope="module")
def model():
    return tiny.build(tiny.hivg_config()).eval()


WRONG = {
    "no images": ({"images": None}, "inputs have no 'images' (found: padding, token_ids)"),
    "no text": ({"token_ids": None}, "inputs have no 'token_ids'"),
    "raw pixels": ({"images": torch.zeros(2, 3, 32, 32, dtype=torch.uint8)}, "expected normalised floats"),
    "channels last": ({"images": torch.zeros(2, 32, 32, 3)}, "expected normalised floats (B, 3, H, W)"),
    "between patches": (
        {"images": torch.zeros(2, 3, 32, 36), "padding": None},
        "images are 36 x 32 pixels; both sides must be multiples of the patch, 8",
    ),
    "no pixels": ({"images": torch.zeros(2, 3, 0, 32), "padding": None}, "images are 32 x 0 pixels"),
    "another size": (
        {"images": torch.zeros(2, 3, 32, 64), "padding": None},
        "text tokens, but the grounding encoder has positions for exactly 4 x 4",
    ),
    "float ids": ({"token_ids": torch.zeros(2, 6)}, "token_ids: expected int64 (B, T), got torch.float32"),
    "one row of ids": ({"token_ids": torch.ones(6, dtype=torch.int64)}, "token_ids: expected int64 (B, T)"),
    "too long": (
        {"token_ids": torch.ones(2, 13, dtype=torch.int64)},
        "token_ids have 13 positions, the model takes 1 to 12",
    ),
    "no tokens": ({"token_ids": torch.ones(2, 0, dtype=torch.int64)}, "token_ids have 0 positions"),
    "unequal batch": ({"token_ids": torch.ones(3, 6, dtype=torch.int64)}, "2 images and 3 texts"),
    "padding": (
        {"padding": torch.zeros(2, 16, 16, dtype=torch.bool)},
        "padding: expected (2, 32, 32) like the images, got (2, 16, 16)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused(model, name):
    changes, message = WRONG[name]
    inputs = {key: value for key, value in {**tiny.inputs(2), **changes}.items() if value is not None}
    for mode in ("tensor", "predict", "loss"):
        with pytest.raises(InputError) as error:
            model(inputs, tiny.samples(2), mode=mode)
        assert message in str(error.value)


def test_what_fits_passes(model):
    assert model(tiny.inputs(2), mode="tensor")["pred_boxes"].shape == (2, 4)
    pretrain = tiny.build(tiny.pretrain_config(lambda texts: torch.ones(len(texts), 4, dtype=torch.int64)))
    larger = {**tiny.inputs(2), "images": torch.zeros(2, 3, 64, 64), "padding": torch.zeros(2, 64, 64) > 0}
    assert pretrain(larger, mode="tensor")["image_embed"].shape == (2, 32)
