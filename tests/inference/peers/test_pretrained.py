"""Weights: folders, names, and what is wrong with them."""

import json

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from tiny_peers import save_peer
from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

from refkit.inference.peers.pretrained import Pretrained, PretrainedError, locate_pretrained
from refkit.zoo.index import file_sha256

TYPES = ("clipseg",)


@pytest.fixture
def folder(tmp_path):
    return save_peer("clipseg", tmp_path / "tiny")


@pytest.fixture
def offline_cache(tmp_path, monkeypatch):
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(folder):
    return locate_pretrained(str(folder)).load(CLIPSegForImageSegmentation, CLIPSegProcessor, TYPES)


def test_a_folder_is_loaded_in_float32_whatever_it_stores(folder):
    state = load_file(folder / "model.safetensors")
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    save_file(halves, folder / "model.safetensors", {"format": "pt"})
    model, processor = load(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, halves[name].float())
    assert type(processor) is CLIPSegProcessor


def test_the_checkpoint_is_that_of_all_files(folder):
    weights = folder / "model.safetensors"
    found = locate_pretrained(str(folder))
    assert found.checkpoint == f"sha256:{file_sha256(weights)}"
    assert found.name == "tiny"
    (folder / "more.safetensors").write_bytes(weights.read_bytes())
    both = Pretrained("tiny", folder).checkpoint
    assert both.startswith("sha256:") and len(both) == 71 and both != found.checkpoint
    (folder / "more.safetensors").write_bytes(weights.read_bytes()[:-1])
    assert Pretrained("tiny", folder).checkpoint != both


def test_a_name_in_the_cache_needs_no_network(folder, offline_cache):
    snapshot = offline_cache / "models--someone--tiny" / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    found = locate_pretrained("someone/tiny")
    assert (found.name, found.folder.name) == ("someone/tiny", "0" * 40)
    model, _ = found.load(CLIPSegForImageSegmentation, CLIPSegProcessor, TYPES)
    assert isinstance(model, CLIPSegForImageSegmentation)


def test_neither_cache_nor_network(offline_cache):
    with pytest.raises(
        PretrainedError,
        match=r"someone/tiny: not in the local cache and no network: download .* name the folder",
    ):
        locate_pretrained("someone/tiny")


@pytest.mark.parametrize(
    "weights", ["nowhere", "/no/such/folder", "a/b/c", "", "..", "someone/tiny/", "a/.."]
)
def test_neither_folder_nor_name(weights, offline_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PretrainedError):
        locate_pretrained(weights)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_without_its_files(folder, missing):
    (folder / missing).rename(folder / "pytorch_model.bin")
    with pytest.raises(
        PretrainedError, match=r"no (config\.json|\*\.safetensors) there.*convert them to safetensors"
    ):
        load(folder)


def test_another_model_is_named(folder):
    located = locate_pretrained(str(folder))
    with pytest.raises(
        PretrainedError, match="'model_type' is 'clipseg', this method needs 'sam3' or 'sam3_video'"
    ):
        located.load(CLIPSegForImageSegmentation, CLIPSegProcessor, ("sam3", "sam3_video"))


@pytest.mark.parametrize("text", ["{", "[]", "null", "[" * 100_000, '{"model_type": 3}'])
def test_a_broken_config(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(PretrainedError, match=r"config\.json"):
        load(folder)


def test_a_missing_tensor_is_not_made_up(folder):
    state = load_file(folder / "model.safetensors")
    removed = next(name for name in state if name.startswith("decoder."))
    del state[removed]
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        PretrainedError, match=rf"1 tensors of CLIPSegForImageSegmentation are not .*{removed}"
    ):
        load(folder)


def test_tensors_of_another_shape(folder):
    config = json.loads((folder / "config.json").read_text())
    config["reduce_dim"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(PretrainedError, match="cannot be loaded as CLIPSegForImageSegmentation"):
        load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "processor_config.json", "tokenizer.json"])
def test_damaged_files(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:100])
    with pytest.raises(PretrainedError, match="cannot be loaded as"):
        load(folder)


def test_code_in_the_folder_is_not_run(folder, tmp_path):
    config = json.loads((folder / "processor_config.json").read_text())
    config["auto_map"] = {"AutoProcessor": "mine.Mine", "AutoTokenizer": ["mine.Mine", "mine.Mine"]}
    (folder / "processor_config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Mine: pass\n")
    _, processor = load(folder)
    assert type(processor) is CLIPSegProcessor
    assert not (tmp_path / "ran").exists()
