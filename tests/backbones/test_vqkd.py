"""The visual tokenizer as a component; its numbers are compared in ``tests/zoo/test_vqkd_parity.py``."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from refkit.backbones import VQKD
from refkit.backbones.inputs import InputError
from refkit.backbones.state import WeightError
from refkit.backbones.vqkd import Codebook, resize_positions

SIZE = {
    "width": 32,
    "layers": 2,
    "heads": 4,
    "image_size": 32,
    "patch_size": 8,
    "codes": 20,
    "code_width": 6,
}


def tokenizer(seed=0, **settings):
    torch.manual_seed(seed)
    return VQKD(SIZE, **settings).eval()


@pytest.fixture
def pixels():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_codes_are_the_nearest_entries_and_ignore_the_rest_of_the_batch(pixels):
    model = tokenizer()
    codes = model.codes(pixels)
    assert codes.shape == (3, 16) and codes.dtype == torch.int64
    with torch.no_grad():
        distances = torch.cdist(F.normalize(model.features(pixels), dim=-1), model.quantize.embedding.weight)
    assert torch.equal(codes, distances.argmin(dim=-1))
    assert torch.equal(model.codes(pixels[1:2]), codes[1:2])


def test_another_picture_size_resizes_positions(pixels):
    assert tokenizer().codes(F.interpolate(pixels, (48, 40))).shape == (3, 6 * 5)
    table = torch.randn(1, 17, 8)
    resized = resize_positions(table, (6, 5))
    assert resized.shape == (1, 31, 8) and torch.equal(resized[:, 0], table[:, 0])


def test_codes_do_not_depend_on_the_precision_around(pixels):
    model = tokenizer()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model.codes(pixels), tokenizer().codes(pixels))
    low = tokenizer(precision="bfloat16").codes(pixels)
    assert (low == model.codes(pixels)).float().mean() > 0.7
    with pytest.raises(ValueError, match="precision='half'; expected one of float32, bfloat16"):
        tokenizer(precision="half")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * 255, r"run from 0\.\d+ to 25\d: it takes \[0, 1\]"),
        (lambda x: x - 0.5, r"it takes \[0, 1\], not normalised pictures"),
        (lambda x: (x * 255).byte(), "expected floats"),
        (lambda x: x[:, :, :30], "32 x 30 is not a multiple of the patch, 8"),
    ],
)
def test_wrong_pixels_are_refused(pixels, change, message):
    with pytest.raises(InputError, match=message):
        tokenizer().codes(change(pixels))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("large", "no VQ-KD 'large'; published: base"),
        ({"widht": 3}, "unknown widht; known: width"),
        ({"width": 30, "heads": 4}, "width 30 must be a multiple of heads 4"),
        ({"codes": 0}, "every number must be positive"),
    ],
)
def test_wrong_sizes_are_refused(size, message):
    with pytest.raises(ValueError, match=message):
        VQKD(size)


def test_the_digest_follows_what_decides_about_codes():
    model, twin = tokenizer(), tokenizer()
    first = model.digest()
    assert first == twin.digest() == model.digest()
    twin.quantize.cluster_size += 1
    assert twin.digest() == first
    with torch.no_grad():
        twin.quantize.embedding.weight[3, 2] += 1e-3
    assert twin.digest() != first
    twin.load_state_dict(model.state_dict())
    assert twin.digest() == first
    assert tokenizer(precision="bfloat16").digest() != first


def test_weights_from_its_own_file_a_training_or_a_released_one(tmp_path, pixels):
    model = tokenizer()
    state, expected = model.state_dict(), model.codes(pixels)
    files = {
        "own": state,
        "training": {f"visual_tokenizer.{name}": value for name, value in state.items()}
        | {"decoder.cls_token": torch.zeros(1)},
        "released": {
            **state,
            "decoder.cls_token": torch.zeros(1),
            "decode_task_layer.0.weight": torch.zeros(2),
            "quantize.embedding.initted": torch.ones(1),
        },
    }
    for name, tensors in files.items():
        save_file(tensors, tmp_path / f"{name}.safetensors")
        loaded = tokenizer(seed=1, weights=tmp_path / f"{name}.safetensors")
        assert torch.equal(loaded.codes(pixels), expected), name


def test_files_of_something_else_are_refused(tmp_path):
    save_file({"backbone.weight": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(WeightError, match="no VQ-KD in it"):
        VQKD(SIZE, weights=tmp_path / "x.safetensors")
    state = tokenizer().state_dict()
    state.pop("encoder.fc_norm.weight")
    save_file(state, tmp_path / "y.safetensors")
    with pytest.raises(WeightError, match=r"encoder\.fc_norm\.weight"):
        VQKD(SIZE, weights=tmp_path / "y.safetensors")


def test_used_codes_move_towards_their_vectors_and_stay_unit():
    torch.manual_seed(0)
    book = Codebook(4, 3)
    before = book.embedding.weight.clone()
    vectors = F.normalize(torch.randn(2, 5, 3), dim=-1)
    codes = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 0, 0, 0]])
    book.learn(vectors, codes, decay=0.9)
    torch.testing.assert_close(book.embedding.weight[2:], before[2:], atol=1e-6, rtol=0)  # unit once more
    assert torch.equal(book.cluster_size, torch.tensor([0.6, 0.4, 0, 0]))
    torch.testing.assert_close(book.embedding.weight.norm(dim=1), torch.ones(4))
    for code in (0, 1):
        mean = F.normalize(vectors[codes == code].sum(dim=0), dim=0)
        expected = F.normalize(0.9 * before[code] + 0.1 * mean, dim=0)
        torch.testing.assert_close(book.embedding.weight[code], expected)


def test_codes_that_nothing_uses_start_again_as_vectors_of_the_batch():
    torch.manual_seed(0)
    book = Codebook(4, 3)
    book.cluster_size += torch.tensor([5.0, 0.5, 5.0, 0.0])
    before = book.embedding.weight.clone()
    vectors = F.normalize(torch.randn(2, 8, 3), dim=-1)
    book.restart(vectors, below=1.0)
    assert torch.equal(book.embedding.weight[[0, 2]], before[[0, 2]])
    rows = {tuple(row) for row in vectors.flatten(0, 1).tolist()}
    assert all(tuple(book.embedding.weight[code].tolist()) in rows for code in (1, 3))
    assert book.cluster_size.tolist() == [5, 4, 5, 4]
    unchanged = book.embedding.weight.clone()
    book.restart(vectors, below=0.0)
    assert torch.equal(book.embedding.weight, unchanged)


def test_a_codebook_larger_than_the_first_batch_is_filled():
    book = Codebook(10, 3)
    book.restart(F.normalize(torch.randn(1, 4, 3), dim=-1), below=torch.inf)
    assert book.cluster_size.all() and len(book.embedding.weight.unique(dim=0)) == 4
