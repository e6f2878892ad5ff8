"""Released HiVG files are converted strictly, whole, and without running anything in them."""

import argparse
from pathlib import PurePosixPath

import pytest
import torch
from published_weights import manifest

from refkit.backbones.state import WeightError
from refkit.inference.inferencer import load_model
from refkit.registry import MODELS
from refkit.zoo.layouts import import_published
from refkit.zoo.layouts.adapters import merge_adapters
from refkit.zoo.layouts.hivg import RULES, convert
from refkit.zoo.layouts.renaming import published_name, rename
from refkit.zoo.published import import_file, read_published

REFCOCO = "hivg/parity/base_refcoco_manifest.json.gz"


def shapes_only(path=REFCOCO):
    """A published state dict of the right names and shapes without memory."""
    return {name: torch.empty(shape, device="meta") for name, (shape, _) in manifest(path).items()}


def test_every_name_of_the_layout_is_used_or_known_to_be_dead():
    config, state = convert(shapes_only(), variant="single")
    assert config["model"]["backbone"]["bridge"]["text_levels"] == [12]
    with torch.device("meta"):
        assert set(MODELS.build(config["model"]).state_dict()) == set(state)


def test_rules_work_in_both_directions():
    _, state = convert(shapes_only(), variant="single")
    for name in state:
        assert rename(published_name(name, RULES), RULES) == name


def test_large_models_go_through_the_same_code():
    base, _ = convert(shapes_only(), variant="single")
    model = {**base["model"], "encoder": {**base["model"]["encoder"], "width": 768}}
    model["backbone"] = {**model["backbone"], "size": "ViT-L-14", "visual_levels": [6, 12, 18, 24]}
    model["backbone"]["bridge"] = {**model["backbone"]["bridge"], "blocks": [4, 10, 16, 22]}
    with torch.device("meta"):
        own = MODELS.build(model).state_dict()
    published = {published_name(name, RULES): value for name, value in own.items()}
    config, state = convert(published, variant="single")
    assert config["model"]["backbone"]["size"] == "ViT-L-14"
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in own.items()
    }


def test_missing_unknown_and_misshaped_tensors_are_all_named():
    state = shapes_only()
    del state["bbox_embed.layers.1.bias"]
    state["novelty.weight"] = torch.empty(3, device="meta")
    state["text_proj.bias"] = torch.empty(7, device="meta")
    with pytest.raises(WeightError) as error:
        convert(state, variant="single")
    for part in (
        "1 missing",
        "bbox_embed.layers.1.bias",
        "1 unknown",
        "novelty.weight",
        "text_proj.bias: (7,)",
    ):
        assert part in str(error.value)


def test_newer_peft_names_are_understood():
    state = {}
    for name, value in shapes_only().items():
        layer, _, kind = name.rpartition(".")
        adapted = f"{layer}.lora_A.default.weight" in shapes_only()
        state[f"{layer}.base_layer.{kind}" if adapted else name] = value
    assert convert(state, variant="single")[1].keys() == convert(shapes_only(), variant="single")[1].keys()


def test_ambiguous_files_ask_which_they_are():
    with pytest.raises(WeightError, match="variant='single' or 'mixed'"):
        convert(shapes_only())
    with pytest.raises(WeightError, match="bridges read 12 text levels"):
        convert(shapes_only("hivg/parity/base_manifest.json.gz"), variant="mixed")
    with pytest.raises(WeightError, match="expected 'single' or 'mixed'"):
        convert(shapes_only(), variant="both")


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        (lambda name: "clip." not in name, "clip.text_model.final_layer_norm.weight missing"),
        (lambda name: "lora" in name, "not a HiVG checkpoint"),
        (lambda name: "clip." in name, "visu_proj.weight"),
    ],
    ids=["no CLIP", "LoRA only", "CLIP only"],
)
def test_files_of_another_kind_are_refused(drop, message):
    state = {name: value for name, value in shapes_only().items() if drop(name)}
    with pytest.raises(WeightError, match=message):
        convert(state, variant="single")


def test_unknown_layouts_are_refused():
    with pytest.raises(WeightError, match="known: hivg"):
        import_published("hivgg", {})


def test_adapters_are_merged_with_their_scale():
    generator = torch.Generator().manual_seed(0)
    weight, down, up = (torch.randn(shape, generator=generator) for shape in ((6, 5), (2, 5), (6, 2)))
    state = {"x.weight": weight, "x.lora_A.default.weight": down, "x.lora_B.default.weight": up}
    merged = merge_adapters(state, alpha=1.0)
    assert list(merged) == ["x.weight"]
    torch.testing.assert_close(merged["x.weight"], weight + 0.5 * up @ down)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"x.lora_A.weight": torch.ones(2, 5)}, "adapters without the weight"),
        ({"x.weight": torch.ones(6, 5), "x.lora_A.weight": torch.ones(2, 5)}, "lora_B is missing"),
        (
            {
                "x.weight": torch.ones(6, 5),
                "x.lora_A.weight": torch.ones(2, 4),
                "x.lora_B.weight": torch.ones(6, 2),
            },
            "do not fit",
        ),
    ],
)
def test_broken_adapters_are_refused(state, message):
    with pytest.raises(WeightError, match=message):
        merge_adapters(state, alpha=1.0)


def test_stored_settings_decide_the_variant_and_nothing_else_is_unpickled(tmp_path):
    file = tmp_path / "best_checkpoint.pth"
    settings = argparse.Namespace(dataset="mixup", mixup_pretrain=True, lr=1e-4)
    torch.save({"model": {"a": torch.ones(1)}, "args": settings, "epoch": 3}, file)
    state, stored = read_published(file)
    assert list(state) == ["a"]
    assert stored["mixup_pretrain"] is True
    torch.save({"model": {"a": torch.ones(1)}, "args": PurePosixPath("x")}, file)
    with pytest.raises(WeightError, match="runs no code"):
        read_published(file)


def test_truncated_files_are_refused(tmp_path):
    file = tmp_path / "best_checkpoint.pth"
    torch.save({"model": {"a": torch.ones(1000)}}, file)
    file.write_bytes(file.read_bytes()[:1500])
    with pytest.raises(WeightError, match="damaged"):
        import_file(file, "hivg", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.slow
@pytest.mark.xdist_group("full-size")
def test_a_released_file_becomes_a_model_that_answers(tmp_path, repository):
    """From ``best_checkpoint.pth`` with its pickled command line to boxes in a picture."""
    import numpy as np
    from typer.testing import CliRunner

    from refkit.cli.main import app

    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(shape, generator=generator) * 0.02
        if dtype == "float32"
        else torch.zeros(shape).long()
        for name, (shape, dtype) in manifest(REFCOCO).items()
    }
    file, out = tmp_path / "best_checkpoint.pth", tmp_path / "hivg.safetensors"
    torch.save({"model": state, "args": argparse.Namespace(dataset="unc"), "epoch": 0}, file)
    result = CliRunner().invoke(app, ["zoo", "import", str(file), "--layout", "hivg", "--out", str(out)])
    assert result.exit_code == 0, result.output
    answer = load_model(out, precision="float32").ground(np.zeros((40, 60, 3), np.uint8), "a dog")
    assert answer.boxes.shape == (1, 4)
    assert (answer.boxes >= 0).all()
    assert (answer.boxes <= [60, 40, 60, 40]).all()
