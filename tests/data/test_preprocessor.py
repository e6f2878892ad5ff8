"""Batches are normalised exactly as ToTensor → Normalize → pad would."""

import numpy as np
import pytest
import torch
from sample_factory import make_sample
from torch import nn
from torchvision.transforms import v2

from refkit.data.collate import collate
from refkit.data.preprocessor import IMAGENET_MEAN, IMAGENET_STD, ReferringPreprocessor
from refkit.data.transforms import Letterbox
from refkit.registry import MODELS


class Letters:
    """A tokenizer of letters: ids from 1, padding 0, ten places."""

    pad_id = 0
    context_length = 10

    def __call__(self, texts):
        ids = torch.zeros(len(texts), 10, dtype=torch.int64)
        for row, text in enumerate(texts):
            codes = [ord(letter) % 50 + 1 for letter in text[:10]]
            ids[row, : len(codes)] = torch.tensor(codes)
        return ids


@MODELS.register_module()
class RegisteredLetters(Letters):
    pass


def batch(texts=("abc", "de")):
    rng = np.random.default_rng(0)
    return collate(
        [Letterbox(64)(make_sample(80, 60, text=text, seed=i), rng) for i, text in enumerate(texts)]
    )


def reference(data):
    """ToTensor → Normalize on the picture alone, then zeros around it."""
    normalise = v2.Compose(
        [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    )
    images = []
    for image, padding in zip(data["inputs"]["images"], data["inputs"]["padding"], strict=True):
        rows = (~padding).any(dim=1)
        picture = normalise(image[:, rows].permute(1, 2, 0).numpy())
        canvas = torch.zeros(3, 64, 64)
        canvas[:, rows] = picture
        images.append(canvas)
    return torch.stack(images)


def test_equals_normalise_then_pad():
    data = batch()
    result = ReferringPreprocessor()(data)["inputs"]
    assert result["images"].dtype == torch.float32
    assert (result["images"] - reference(data)).abs().max() < 1e-6
    assert not result["images"][result["padding"][:, None].expand(-1, 3, -1, -1)].any()
    assert data["inputs"]["images"].dtype == torch.uint8


def test_stays_float32_under_bfloat16_autocast():
    data = batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        images = ReferringPreprocessor()(data)["inputs"]["images"]
    assert (images - reference(data)).abs().max() < 1e-6


def test_tokenises_and_trims():
    data = batch()
    full = ReferringPreprocessor(Letters())(data)["inputs"]["token_ids"]
    trimmed = ReferringPreprocessor(dict(type="RegisteredLetters"), trim_text=True)(data)["inputs"][
        "token_ids"
    ]
    assert full.shape == (2, 10)
    assert trimmed.shape == (2, 3)
    assert torch.equal(full[:, :3], trimmed)
    empty = ReferringPreprocessor(Letters(), trim_text=True)(batch(("", "")))["inputs"]["token_ids"]
    assert empty.shape == (2, 1)


def test_tensor_mode_passes_through():
    images, ids = torch.randn(2, 3, 8, 8), torch.arange(6).view(2, 3)
    result = ReferringPreprocessor(Letters())({"inputs": {"images": images, "token_ids": ids}})
    assert torch.equal(result["inputs"]["images"], images)
    assert torch.equal(result["inputs"]["token_ids"], ids)


def test_keeps_samples_and_needs_texts():
    data = batch()
    assert ReferringPreprocessor()(data)["data_samples"][1].text == "de"
    with pytest.raises(ValueError, match="no texts to tokenise"):
        ReferringPreprocessor(Letters())({"inputs": data["inputs"]})


def test_has_no_state_and_moves_with_its_model():
    model = nn.ModuleDict({"data_preprocessor": ReferringPreprocessor()})
    assert not model.state_dict()
    model.to(torch.float64)
    assert ReferringPreprocessor().device.type == "cpu"


def test_double_models_still_normalise_in_float32():
    preprocessor = ReferringPreprocessor().to(torch.float64)
    assert preprocessor(batch())["inputs"]["images"].dtype == torch.float32


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="std above 0"):
        ReferringPreprocessor(std=(1.0, 1.0, 0.0))
    with pytest.raises(ValueError, match=r"got \(2, 8, 8, 3\) of torch.uint8"):
        ReferringPreprocessor()({"inputs": {"images": torch.zeros(2, 8, 8, 3, dtype=torch.uint8)}})
    with pytest.raises(ValueError, match=r"of torch.int64"):
        ReferringPreprocessor()({"inputs": {"images": torch.zeros(2, 3, 8, 8, dtype=torch.int64)}})
