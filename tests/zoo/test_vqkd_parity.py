"""The full-size visual tokenizer with weights by name gives the features and exactly the codes of the released code.

Codes are compared where the best code is better than the second best by more than rounding: the reference names
that gap in squared distance. Features are stored for every eighth patch.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from published_weights import GOLDEN, published_state

from refkit.backbones.vqkd import resize_positions
from refkit.registry import MODELS
from refkit.zoo.layouts import import_published

pytestmark = pytest.mark.xdist_group("full-size")

FOLDER = GOLDEN / "oneref"
SURE = 1e-3


@pytest.fixture(scope="module")
def reference():
    return np.load(FOLDER / "mrefm_base.npz")


@pytest.fixture(scope="module")
def tokenizer():
    config, state = import_published("vqkd", published_state("oneref/vqkd_manifest.json.gz"))
    model = MODELS.build(config["model"])
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


@pytest.fixture(scope="module")
def pixels():
    padding = np.unpackbits(np.load(FOLDER / "mrefm_base_inputs.npz")["image_padding"], axis=-1)
    noise = np.random.Generator(np.random.PCG64(1)).random((2, 3, 384, 384), dtype=np.float32)
    return torch.from_numpy(noise * (1 - padding[:, None]).astype(np.float32))


@torch.no_grad()
def test_features_and_codes_at_384(tokenizer, pixels, reference):
    features = tokenizer.features(pixels)
    np.testing.assert_allclose(features[:, ::8], reference["vq_features"], rtol=0, atol=1e-5)
    codes = tokenizer.quantize(F.normalize(features, dim=-1)).numpy()
    sure = reference["vq_code_gap"] >= SURE
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(codes[sure], reference["vq_codes"][sure])


def test_codes_at_224_need_no_resized_positions(tokenizer, pixels, reference):
    codes = tokenizer.codes(pixels[:, :, 80:304, 80:304])
    np.testing.assert_array_equal(codes, reference["vq_codes_224"])


@torch.no_grad()
def test_positions_are_resized_by_the_factor_not_to_the_size(tokenizer, reference):
    table = tokenizer.encoder.pos_embed
    resized = resize_positions(table, (24, 24))
    np.testing.assert_allclose(resized[:, ::16][:, :, ::24], reference["vq_pos_embed"], rtol=0, atol=1e-6)
    planes = table[:, 1:].transpose(1, 2).unflatten(2, (14, 14))
    by_size = F.interpolate(planes, (24, 24), mode="bicubic").flatten(2).transpose(1, 2)
    assert (by_size - resized[:, 1:]).abs().max() > 0.1
    assert resize_positions(table, (14, 14)) is table
