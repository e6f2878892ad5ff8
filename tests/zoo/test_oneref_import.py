"""Released OneRef files are converted strictly, base and large, and without running anything in them."""

from __future__ import annotations

import argparse
from pathlib import PurePosixPath

import pytest
import torch
from published_weights import manifest

from refkit.backbones.state import WeightError
from refkit.registry import MODELS
from refkit.zoo.layouts import import_published
from refkit.zoo.layouts.oneref import RULES
from refkit.zoo.layouts.renaming import published_name, rename
from refkit.zoo.published import import_file, read_published

KINDS = {
    "rec": {"box", "constraint"},
    "res": {"mask"},
    "mrefm": {"constraint", "masked_image", "masked_text"},
}
UNUSED = {"text_proj.weight", "text_proj.bias"}


def shapes_only(kind="rec"):
    """A published state dict of the right names and shapes without memory."""
    names = manifest(f"oneref/{kind}_base_manifest.json.gz")
    return {
        name: torch.empty(shape, device="meta", dtype=getattr(torch, dtype))
        for name, (shape, dtype) in names.items()
    }


def large(kind="rec"):
    """The large counterpart of a base layout: the spec's shapes, twelve more blocks."""
    state = {}
    for name, value in shapes_only(kind).items():
        shape = [{768: 1024, 3072: 4096}.get(side, side) for side in value.shape]
        names = [name]
        if ".layers." in name and name.startswith("beit3."):
            block = int(name.split(".layers.")[1].split(".")[0])
            names.append(name.replace(f".layers.{block}.", f".layers.{block + 12}."))
        if name == "beit3.vision_embed.proj.weight":
            shape = [1024, 3, 16, 16]
        for each in names:
            state[each] = torch.empty(shape, device="meta", dtype=value.dtype)
    return state


def built(config):
    with torch.device("meta"):
        model = {name: value for name, value in config["model"].items() if name != "data_preprocessor"}
        return MODELS.build(model)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_name_of_a_layout_is_used_or_known_to_be_dead(kind):
    state = shapes_only(kind)
    config, weights = import_published("oneref", state)
    assert set(built(config).state_dict()) == set(weights)
    assert set(config["model"]["heads"]) == KINDS[kind]
    assert config["model"]["type"] == ("MRefM" if kind == "mrefm" else "OneRef")
    left_out = set(state) - {published_name(name, RULES) for name in weights}
    box = {name for name in state if name.startswith(("bbox_embed", "visu_proj"))}
    assert left_out == (UNUSED if kind == "rec" else UNUSED | box)
    assert all(rename(published_name(name, RULES), RULES) == name for name in weights)


@pytest.mark.parametrize(
    ("kind", "count", "parameters"),
    [("rec", 984, 679_391_237), ("res", 1002, 691_980_293), ("mrefm", 1000, 757_601_812)],
)
def test_large_models_go_through_the_same_code(kind, count, parameters):
    """Counts are those of spec §4.1, the large model's own."""
    state = large(kind)
    floats = [value for value in state.values() if value.is_floating_point()]
    buffers = sum(value.numel() for name, value in state.items() if "running" in name)
    assert len(state) == count
    assert sum(value.numel() for value in floats) - buffers == parameters
    config, weights = import_published("oneref", state)
    assert config["model"]["backbone"] == {"type": "BEiT3Backbone", "size": "large", "image_size": 384}
    own = built(config).state_dict()
    assert {name: value.shape for name, value in own.items()} == {n: v.shape for n, v in weights.items()}


def test_the_model_is_complete_with_its_transforms_and_words():
    config, _ = import_published("oneref", shapes_only(), tokenizer="words/beit3.spm")
    assert config["pipeline"] == [{"type": "Letterbox", "size": 384}]
    words = config["model"]["data_preprocessor"]
    assert words["tokenizer"] == {"type": "SentencePieceTokenizer", "model": "words/beit3.spm"}
    assert words["trim_text"]


def test_another_picture_size():
    state = shapes_only()
    name = "beit3.encoder.embed_positions.A.weight"
    state[name] = torch.randn(579, 768)
    config, weights = import_published("oneref", state, image_size=224)
    assert weights[f"backbone.{name}"].shape == (199, 768)
    assert config["model"]["backbone"]["image_size"] == config["pipeline"][0]["size"] == 224
    with pytest.raises(WeightError, match="image_size 230 is not a multiple of the patch, 16"):
        import_published("oneref", state, image_size=230)


def test_missing_unknown_and_misshaped_tensors_are_all_named():
    state = shapes_only("res")
    del state["bn2.running_var"], state["beit3.encoder.layers.3.ffn.B.fc1.bias"]
    state["novelty.weight"] = torch.empty(3, device="meta")
    state["seg_conv1.weight"] = torch.empty(768, 768, 4, 4, device="meta")
    with pytest.raises(WeightError) as error:
        import_published("oneref", state)
    for part in (
        "2 missing",
        "bn2.running_var",
        "beit3.encoder.layers.3.ffn.B.fc1.bias",
        "1 unknown",
        "novelty.weight",
        "seg_conv1.weight: (768, 768, 4, 4), expected (768, 768, 2, 2)",
    ):
        assert part in str(error.value)


def test_shallow_and_odd_files_are_refused():
    shallow = {name: value for name, value in shapes_only().items() if ".layers.11." not in name}
    with pytest.raises(WeightError, match=r"missing:(.|\n)*layers\.11\."):
        import_published("oneref", shallow)
    narrow = shapes_only() | {"beit3.encoder.embed_positions.A.weight": torch.empty(579, 512, device="meta")}
    with pytest.raises(
        WeightError, match=r"is \(579, 512\); a published BEiT-3 has 768 channels \(base\) or 1024"
    ):
        import_published("oneref", narrow)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            {"clip.text_model.final_layer_norm.weight": torch.ones(4)},
            r"no BEiT-3 in it(.|\n)*top-level names: clip",
        ),
        ({"encoder.pos_embed": torch.ones(4), "quantize.cluster_size": torch.ones(4)}, "encoder, quantize"),
        ({"language_head.weight": torch.ones(4, 4)}, r"beit3\.text_embed\.weight"),
    ],
    ids=["HiVG", "VQ-KD", "projections only"],
)
def test_files_of_another_family_are_refused(state, message):
    with pytest.raises(WeightError, match=message):
        import_published("oneref", state)


def test_files_with_stored_settings_and_optimizer_are_read_and_nothing_else_is_unpickled(tmp_path):
    file = tmp_path / "best_checkpoint.pth"
    content = {"model": {"logit_scale": torch.ones(())}, "optimizer": {"state": {0: {"step": torch.ones(1)}}}}
    torch.save({**content, "args": argparse.Namespace(model="beit3_base"), "val_accu": torch.ones(1)}, file)
    state, settings = read_published(file)
    assert list(state) == ["logit_scale"] and settings == {"model": "beit3_base"}
    with pytest.raises(WeightError, match=r"best_checkpoint\.pth: no BEiT-3 in it"):
        import_file(file, "oneref", tmp_path / "out.safetensors")
    torch.save({**content, "args": PurePosixPath("x")}, file)
    with pytest.raises(WeightError, match="runs no code"):
        read_published(file)
    assert not (tmp_path / "out.safetensors").exists()


def test_truncated_files_are_refused(tmp_path):
    file = tmp_path / "best_checkpoint.pth"
    torch.save({"model": {"logit_scale": torch.ones(1000)}}, file)
    file.write_bytes(file.read_bytes()[:1500])
    with pytest.raises(WeightError, match="damaged"):
        import_file(file, "oneref", tmp_path / "out.safetensors")


def test_options_of_another_layout_are_refused():
    with pytest.raises(
        WeightError, match="layout 'oneref' has no option 'variant'; it has image_size, tokenizer"
    ):
        import_published("oneref", shapes_only(), variant="single")
