from __future__ import annotations

import pytest
import tiny_models as tiny
import torch

from refkit.backbones import VQKD, CLIPBackbone
from refkit.backbones.inputs import InputError
from refkit.zoo.weights import load_weights, save_weights


def build(**changes):
    return tiny.build(tiny.vqkd_config(**changes))


def test_it_learns_to_tell_the_teachers_features_and_keeps_its_codes():
    model, inputs = build(restart_below=0.5, decay=0.9), tiny.inputs(4)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    history = []
    for _ in range(60):
        losses = model(inputs, tiny.samples(4), mode="loss")
        optimizer.zero_grad()
        (losses["loss_reconstruction"] + losses["loss_commitment"]).backward()
        optimizer.step()
        history.append(losses["loss_reconstruction"].item())
    assert history[-1] < 0.7 * history[0]
    assert losses["code_perplexity"] > 3


def test_the_codebook_learns_in_training_only():
    model, inputs = build(), tiny.inputs(2)
    book = model.visual_tokenizer.quantize
    before = book.embedding.weight.clone()
    model.eval()(inputs, tiny.samples(2), mode="loss")
    assert torch.equal(book.embedding.weight, before) and not book.cluster_size.any()
    model.train()(inputs, tiny.samples(2), mode="loss")
    assert not torch.equal(book.embedding.weight, before) and book.cluster_size.all()
    assert not book.embedding.weight.requires_grad


def test_the_encoder_gets_the_decoders_gradient():
    model = build(commitment=0.0).train()
    model(tiny.inputs(2), tiny.samples(2), mode="loss")["loss_reconstruction"].backward()
    assert model.visual_tokenizer.encoder.patch_embed.proj.weight.grad.any()


def test_what_it_saves_is_a_tokenizer(tmp_path):
    model, inputs = build(), tiny.inputs(3)
    model.train()(inputs, tiny.samples(3), mode="loss")
    save_weights(model, tmp_path / "vq.safetensors")
    codes = model.eval()(inputs)["vq_codes"]
    tokenizer = tiny.build(
        {"type": VQKD, "size": tiny.VQKD_SIZE, "weights": tmp_path / "vq.safetensors"}, seed=3
    )
    pixels = torch.rand(2, 3, 32, 32)
    assert torch.equal(tokenizer.eval().codes(pixels), model.visual_tokenizer.codes(pixels))
    assert codes.shape == (3, 16)
    other = tiny.build(tiny.vqkd_config(), seed=1)
    load_weights(other, tmp_path / "vq.safetensors")
    assert torch.equal(other.eval()(inputs)["reconstruction"], model(inputs)["reconstruction"])


def test_the_teacher_is_no_part_of_it_and_must_fit():
    model = build()
    assert not any("teacher" in name for name in model.state_dict())
    coarse = {"type": CLIPBackbone, "size": {**tiny.SIZE, "patch_size": 16}}
    with pytest.raises(InputError, match=r"patch grid of \(2, 2\), the visual tokenizer one of \(4, 4\)"):
        build(teacher=coarse)(tiny.inputs(1), tiny.samples(1), mode="loss")
    with pytest.raises(ValueError, match=r"decay=1\.0"):
        build(decay=1.0)
    with pytest.raises(ValueError, match="says nothing about where something is"):
        model(tiny.inputs(1), tiny.samples(1), mode="predict")
