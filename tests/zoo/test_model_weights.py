from __future__ import annotations

import argparse

import pytest
import tiny_models as tiny
import torch

from refkit.backbones import CLIPBackbone
from refkit.backbones.state import read_state_dict
from refkit.zoo.weights import WeightError, load_tower, load_weights, read_metadata, save_weights


@pytest.fixture
def model():
    return tiny.build(tiny.hivg_config())


@pytest.fixture
def file(model, tmp_path):
    return save_weights(model, tmp_path / "hivg.safetensors", {"family": "hivg", "levels": [1, 2, 3]})


def equal(a, b):
    b = b.state_dict()
    return all(torch.equal(value, b[name]) for name, value in a.state_dict().items())


def test_there_and_back(model, file):
    other = tiny.build(tiny.hivg_config(), seed=1)
    assert not equal(model, other)
    load_weights(other, file)
    assert equal(model, other)
    assert read_metadata(file) == {"family": "hivg", "levels": [1, 2, 3]}
    assert [path.name for path in file.parent.iterdir()] == ["hivg.safetensors"]


def test_half_precision_halves_the_file(model, file, tmp_path):
    half = save_weights(model, tmp_path / "half.safetensors", half=True)
    assert half.stat().st_size < 0.6 * file.stat().st_size
    other = tiny.build(tiny.hivg_config(), seed=1)
    load_weights(other, half)
    for name, value in other.state_dict().items():
        assert value.dtype == model.state_dict()[name].dtype
        torch.testing.assert_close(value, model.state_dict()[name].half().float(), rtol=0, atol=0)


def test_torch_files_and_checkpoints(model, tmp_path):
    for content in (model.state_dict(), {"state_dict": model.state_dict(), "meta": {"epoch": 3}}):
        torch.save(content, tmp_path / "m.pth")
        other = tiny.build(tiny.hivg_config(), seed=1)
        load_weights(other, tmp_path / "m.pth")
        assert equal(model, other)


def test_differences_are_listed_with_the_nearest_name_and_nothing_changes(model):
    state = dict(model.state_dict())
    state["heads.box.layer.0.weight"] = state.pop("heads.box.layers.0.weight")
    state["encoder.norm.bias"] = torch.zeros(5)
    other = tiny.build(tiny.hivg_config(), seed=1)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(WeightError) as error:
        load_weights(other, state)
    message = str(error.value)
    assert "1 missing in the file:\n  heads.box.layers.0.weight (near: heads.box.layer.0.weight)" in message
    assert "1 unknown to the model:\n  heads.box.layer.0.weight (near: heads.box.layers.0.weight)" in message
    assert "encoder.norm.bias: (5,) in the file, (32,) in the model" in message
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_long_lists_are_shortened(model):
    with pytest.raises(WeightError, match=r"… and [0-9]+ more"):
        load_weights(model, {})


def test_named_allowances(model):
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("heads.")}
    state["ema.decay"] = torch.zeros(1)
    other = tiny.build(tiny.hivg_config(), seed=1)
    kept = other.heads["box"].layers[0].weight.clone()
    with pytest.raises(WeightError):
        load_weights(other, state, allow_missing=["heads.*"])
    load_weights(other, state, allow_missing=["heads.*"], allow_unexpected=["ema.*"])
    assert torch.equal(other.heads["box"].layers[0].weight, kept)
    assert torch.equal(other.encoder.position, model.encoder.position)


def test_towers_of_a_whole_model_and_of_pre_training(model, file, tmp_path):
    other = tiny.build(tiny.hivg_config(), seed=1)
    load_tower(other, file)
    assert equal(other.backbone, model.backbone) and not equal(other.encoder, model.encoder)
    pretrain = tiny.build(tiny.pretrain_config(tiny.word_tokenizer(tmp_path)), seed=2)
    trained = save_weights(pretrain, tmp_path / "clip.safetensors")
    larger = CLIPBackbone(tiny.SIZE, image_size=64)
    load_tower(larger, trained)
    assert torch.equal(larger.clip.text_projection.weight, pretrain.backbone.clip.text_projection.weight)
    assert torch.equal(
        CLIPBackbone(tiny.SIZE, weights=trained).clip.logit_scale, pretrain.backbone.clip.logit_scale
    )
    with pytest.raises(WeightError, match="Linear has no CLIP towers"):
        load_tower(torch.nn.Linear(1, 1), trained)


def test_damaged_and_unsafe_files_are_refused(model, file, tmp_path):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(WeightError, match=r"cut\.safetensors: damaged"):
        load_weights(model, cut)
    with pytest.raises(WeightError, match="damaged, cut short or not a safetensors file"):
        read_metadata(cut)
    torch.save({"model": model.state_dict(), "args": argparse.Namespace(lr=1)}, tmp_path / "unsafe.pth")
    with pytest.raises(WeightError, match="holds more than tensors"):
        load_weights(model, tmp_path / "unsafe.pth")
    (tmp_path / "torn.pth").write_bytes((tmp_path / "unsafe.pth").read_bytes()[:1000])
    with pytest.raises(WeightError, match=r"torn\.pth: damaged"):
        load_weights(model, tmp_path / "torn.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(WeightError, match="holds no tensors \\(top-level keys: epoch\\)"):
        read_state_dict(tmp_path / "empty.pth")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(WeightError, match="expected tensors by name, found list"):
        read_state_dict(tmp_path / "list.pth")
    with pytest.raises(WeightError, match="no weight file"):
        read_state_dict(tmp_path / "absent.pth")


def test_only_safetensors_are_written(model, tmp_path):
    with pytest.raises(WeightError, match=r"saved as \.safetensors"):
        save_weights(model, tmp_path / "model.pth")


def test_metadata_of_others_comes_back_as_text(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", metadata={"format": "pt"})
    assert read_metadata(tmp_path / "a.safetensors") == {"format": "pt"}
