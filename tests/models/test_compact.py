"""Weights stored in half precision give what autocast gives, to the last bit."""

import pytest
import torch
from tiny_models import build, dynrefer_config, region_inputs, samples
from torch import nn

from refkit.models.compact import store_as_run


def model_of(folder, **changes):
    config = dynrefer_config(folder, **changes)
    config["backbone"]["tower_precision"] = "bfloat16"
    config["heads"]["caption"]["precision"] = "bfloat16"
    return build(config)


def test_same_losses_gradients_and_captions_in_less_memory(tmp_path):
    inputs, data_samples = region_inputs(3), samples(3)
    seen, sizes = [], []
    for compact in (False, True):
        model = model_of(tmp_path, compact=compact)
        losses = model.loss(inputs, data_samples)
        sum(losses.values()).backward()
        gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
        answers = [answer.caption for answer in model.eval().predict(inputs, data_samples)]
        seen.append((losses, gradients, answers))
        sizes.append(sum(value.numel() * value.element_size() for value in model.backbone.tower.parameters()))
    (losses, gradients, answers), (same, equal, alike) = seen
    assert answers == alike and losses.keys() == same.keys() and gradients.keys() == equal.keys()
    assert all(torch.equal(losses[name], same[name]) for name in losses)
    assert all(torch.equal(gradients[name], equal[name]) for name in gradients)
    assert sizes[1] < 0.7 * sizes[0]


def test_weights_of_a_plain_model_can_be_loaded(tmp_path):
    plain, compact = model_of(tmp_path), model_of(tmp_path, compact=True)
    nn.init.normal_(plain.backbone.tower.eva.blocks[0].mlp.fc1.weight)
    compact.load_state_dict(plain.state_dict(), strict=True)
    loaded = compact.backbone.tower.eva.blocks[0].mlp.fc1.weight
    assert loaded.dtype == torch.bfloat16
    assert torch.equal(loaded, plain.backbone.tower.eva.blocks[0].mlp.fc1.weight.bfloat16())


@pytest.mark.parametrize("tied", [False, True])
def test_what_is_trained_or_shared_with_embeddings_stays(tied):
    part = nn.ModuleDict({"embed": nn.Embedding(5, 4), "head": nn.Linear(4, 5), "norm": nn.LayerNorm(4)})
    if tied:
        part.head.weight = part.embed.weight
    part.requires_grad_(False)
    part.head.bias.requires_grad_(True)
    store_as_run(part, torch.float16)
    assert part.head.weight.dtype == (torch.float32 if tied else torch.float16)
    assert {part.embed.weight.dtype, part.norm.weight.dtype, part.head.bias.dtype} == {torch.float32}
