"""The released tokenizer file is converted strictly; what only its training needs is checked and left out."""

from __future__ import annotations

import pytest
import torch
from published_weights import manifest

from refkit.backbones import VQKD
from refkit.backbones.state import WeightError
from refkit.zoo.layouts import import_published
from refkit.zoo.published import import_file

LEFT_OUT = ("decoder.", "decode_task_layer.", "quantize.embedding.")


def released():
    """Names and shapes of the released file, values zero, with what its training left in it."""
    names = manifest("oneref/vqkd_manifest.json.gz")
    state = {name: torch.zeros(()).expand(shape) for name, (shape, _) in names.items()}
    assert len(state) == 220
    dropped = ("teacher_model.visual.proj", "loss_fn.weight", "scaling_layer.shift")
    return state | {name: torch.zeros(1) for name in dropped}


def test_the_encoder_and_the_codebook_are_kept():
    config, weights = import_published("vqkd", released())
    assert config == {"model": {"type": "VQKD", "size": "base"}}
    left_out = set(released()) - set(weights)
    assert all(name.startswith((*LEFT_OUT, "teacher", "loss", "scaling")) for name in left_out)
    assert "quantize.embedding.weight" in weights and len(weights) == 168


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("encoder.fc_norm.bias"), r"1 missing:\n  encoder\.fc_norm\.bias"),
        (lambda s: s.pop("decoder.blocks.2.norm1.weight"), r"1 missing:\n  decoder\.blocks\.2"),
        (lambda s: s.update({"encoder.head.weight": torch.zeros(1)}), r"1 unknown:\n  encoder\.head"),
        (
            lambda s: s.update({"decode_task_layer.2.weight": torch.zeros(768, 768)}),
            r"decode_task_layer\.2\.weight: \(768, 768\), expected \(512, 768\)",
        ),
        (lambda s: s.pop("quantize.embedding.weight"), "no VQ-KD in it: quantize.embedding.weight"),
    ],
)
def test_every_difference_is_named(change, message):
    state = released()
    change(state)
    with pytest.raises(WeightError, match=message):
        import_published("vqkd", state)


@pytest.mark.xdist_group("full-size")
def test_a_released_file_becomes_one_that_the_tokenizer_reads(tmp_path):
    state = {name: value.clone() for name, value in released().items()}
    state["encoder.fc_norm.weight"] += 1
    state["quantize.embedding.weight"][7] = 32**-0.5
    state["encode_task_layer.2.bias"] += 1
    torch.save({"model": state}, tmp_path / "vqkd.pth")
    assert (
        import_file(tmp_path / "vqkd.pth", "vqkd", tmp_path / "vqkd.safetensors")["model"]["type"] == "VQKD"
    )
    (tmp_path / "vqkd.pth").unlink()
    with torch.device("meta"):
        empty = VQKD()
    assert set(empty.state_dict()) == set(import_published("vqkd", state)[1])
    tokenizer = VQKD(weights=tmp_path / "vqkd.safetensors").eval()
    assert (tokenizer.codes(torch.rand(1, 3, 32, 32)) == 7).all()
