"""Everything a family must do, for every family that is registered."""

from __future__ import annotations

from functools import partial

import pytest
import tiny_models as tiny
import torch

from refkit.models import BEiT3Pretrain, ReferringModel
from refkit.registry import MODELS
from refkit.zoo.weights import load_weights, save_weights

BOXES_PER_SAMPLE = {
    "HiVG": 1,
    "CLIPPretrain": 3,
    "BEiT3Pretrain": 3,
    "OneRef": 1,
    "MRefM": 1,
    "VQKDPretrain": 1,
    "DynRefer": 1,
}
PREDICTS = ["HiVG", "OneRef"]


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    tokenizer = tiny.word_tokenizer(folder)
    return {
        "HiVG": tiny.hivg_config(),
        "CLIPPretrain": tiny.pretrain_config(tokenizer),
        "BEiT3Pretrain": {
            "type": BEiT3Pretrain,
            "backbone": {**tiny.oneref_config()["backbone"], "size": {**tiny.BEIT3_SIZE, "linear_std": 0.2}},
            "tokenizer": tokenizer,
        },
        "OneRef": tiny.oneref_config(),
        "MRefM": tiny.mrefm_config(schedule="both"),
        "VQKDPretrain": tiny.vqkd_config(),
        "DynRefer": tiny.dynrefer_config(folder),
    }


@pytest.fixture(params=sorted(BOXES_PER_SAMPLE))
def family(request):
    return request.param


@pytest.fixture
def model(configs, family):
    return tiny.build(configs[family])


@pytest.fixture
def batch(family):
    regions = tiny.region_inputs(4) if family == "DynRefer" else {}
    return tiny.masked_inputs(4) | regions, tiny.samples(4, BOXES_PER_SAMPLE[family])


def total(losses):
    return sum(value for name, value in losses.items() if "loss" in name)


def test_every_family_is_in_this_test():
    ours = {name: cls for name, cls in MODELS.module_dict.items() if cls.__module__.startswith("refkit.")}
    families = {name for name, cls in ours.items() if issubclass(cls, ReferringModel)}
    assert families == set(BOXES_PER_SAMPLE)


def test_all_trainable_parameters_get_a_gradient(model, batch):
    losses = model(*batch, mode="loss")
    assert all(value.dim() == 0 and torch.isfinite(value) for value in losses.values())
    total(losses).backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, grad in trained.items() if grad is None] == []
    still = [name for name, grad in trained.items() if not grad.any()]
    assert all(
        name.endswith(("k_proj.bias", "key.bias")) for name in still
    )  # softmax does not see a bias of the keys


def test_a_few_steps_lower_the_loss(model, batch):
    model.eval()  # without dropout the comparison is exact
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    history = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = total(model(*batch, mode="loss"))
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.8 * history[0]


def test_save_and_load_give_the_same_outputs(model, batch, configs, family, tmp_path):
    save_weights(model, tmp_path / "m.safetensors")
    other = tiny.build(configs[family], seed=1)
    named = partial(_tensors, batch=batch[0])
    assert any(not torch.equal(a, b) for a, b in zip(named(model), named(other), strict=True))
    load_weights(other, tmp_path / "m.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(named(model), named(other), strict=True))


def _tensors(model, batch):
    with torch.inference_mode():
        return list(model.eval()(batch).values())


@pytest.mark.parametrize("family", PREDICTS, indirect=True)
def test_predictions_do_not_depend_on_the_rest_of_the_batch(model, batch):
    inputs, data_samples = batch
    together = model.eval()(inputs, data_samples, mode="predict")
    for row, expected in enumerate(together):
        one = {name: value[row : row + 1] for name, value in inputs.items()}
        alone = model(one, data_samples[row : row + 1], mode="predict")[0]
        assert alone.id == expected.id
        assert abs(alone.boxes - expected.boxes).max() < 1e-5 * 64  # pixels of a 64-wide picture


@pytest.mark.parametrize("family", PREDICTS, indirect=True)
def test_predictions_are_boxes_in_the_original_picture(model, batch):
    inputs, data_samples = batch
    for sample, prediction in zip(data_samples, model(inputs, data_samples, mode="predict"), strict=True):
        width, height = sample.frame.original
        x1, y1, x2, y2 = prediction.boxes[0]
        assert prediction.id == sample.id and prediction.boxes.shape == (1, 4)
        assert 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height


def test_runs_under_bf16_autocast(model, batch):
    model.eval()
    exact = total(model(*batch, mode="loss"))
    with torch.autocast("cpu", torch.bfloat16):
        rough = total(model(*batch, mode="loss"))
    rough.backward()
    assert rough.dtype == torch.float32
    assert abs(rough - exact) < 0.05 * exact


def test_same_seed_same_training(configs, family, batch):
    grads = []
    for _ in range(2):
        model = tiny.build(configs[family]).train()
        total(model(*batch, mode="loss")).backward()
        grads.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_pad_mask_is_an_alias_of_padding(model, batch):
    inputs, _ = batch
    renamed = {name: value for name, value in inputs.items() if name != "padding"}
    renamed["pad_mask"] = inputs["padding"].int()
    pairs = zip(_tensors(model, inputs), _tensors(model, renamed), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_wrong_modes_are_refused(model, batch):
    with pytest.raises(ValueError, match="expected one of tensor, loss, predict"):
        model(*batch, mode="train")
    with pytest.raises(ValueError, match="needs data_samples"):
        model(batch[0], mode="loss")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_agrees_with_cpu(model, batch):
    inputs, data_samples = batch
    on_cpu = total(model.eval()(inputs, data_samples, mode="loss"))
    moved = {name: value.cuda() for name, value in inputs.items()}
    on_cuda = total(model.cuda()(moved, data_samples, mode="loss"))
    assert abs(on_cpu - on_cuda.cpu()) < 1e-3
