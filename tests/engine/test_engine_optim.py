"""Parameter groups, autocast, accumulation, clipping."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from refkit.engine.autocast import AutocastOptimWrapper
from refkit.engine.param_groups import ParamGroupConstructor


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict(
            {"blocks": nn.ModuleList(nn.Linear(2, 2) for _ in range(2)), "norm": nn.LayerNorm((1, 2))}
        )
        self.head = nn.Linear(2, 1)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def build(model, wrapper=None, **settings):
    optimizer = {"type": "AdamW", "lr": 0.1, "weight_decay": 0.05, "fused": True}
    config = {"type": AutocastOptimWrapper, "optimizer": optimizer, **(wrapper or {})}
    return ParamGroupConstructor(config, settings)(model)


def rates(model, wrapper):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = wrapper.optimizer.param_groups
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}


def test_prefixes_depth_and_decay():
    model = Blocks()
    found = rates(
        model,
        build(
            model,
            lr_multipliers={"backbone": 0.1, "backbone.norm": 0.2},
            decay_norms_and_biases=False,
            layer_decay={"rate": 0.5, "pattern": r"blocks\.(\d+)\.", "layers": 2},
        ),
    )
    assert found == {
        "backbone.blocks.0.weight": pytest.approx((0.0025, 0.05)),
        "backbone.blocks.0.bias": pytest.approx((0.0025, 0.0)),
        "backbone.blocks.1.weight": pytest.approx((0.005, 0.05)),
        "backbone.blocks.1.bias": pytest.approx((0.005, 0.0)),
        "backbone.norm.weight": pytest.approx((0.02, 0.0)),  # two-dimensional, exempt because it normalises
        "backbone.norm.bias": pytest.approx((0.02, 0.0)),
        "head.weight": (0.1, 0.05),
        "head.bias": (0.1, 0.0),
    }


def test_groups_are_few_and_decay_everything_by_default():
    wrapper = build(Blocks())
    assert len(wrapper.optimizer.param_groups) == 1
    assert wrapper.optimizer.param_groups[0]["weight_decay"] == 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"lr_multipliers": {"backbon": 0.1}},
            "no trainable parameter under 'backbon'; near names: backbone",
        ),
        ({"lr_multipliers": {"frozen": 0.1}}, "no trainable parameter under 'frozen'"),
        ({"layer_decay": {"rate": 0.5, "pattern": "layers", "layers": 2}}, "matches 'layers'"),
        ({"custom_keys": {}}, "unknown settings custom_keys"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build(Blocks(), **settings)


def test_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="nothing to train"):
        build(Blocks().requires_grad_(False))


def test_bfloat16_forward_float32_weights():
    model = nn.Linear(4, 4)
    wrapper = AutocastOptimWrapper(torch.optim.AdamW(model.parameters(), fused=True), "bfloat16")
    with wrapper.optim_context(model):
        output = model(torch.ones(2, 4))
    assert output.dtype == torch.bfloat16
    wrapper.update_params(output.float().sum())
    assert model.weight.dtype == torch.float32
    assert all(state["exp_avg"].dtype == torch.float32 for state in wrapper.optimizer.state.values())
    with pytest.raises(ValueError, match="precision"):
        AutocastOptimWrapper(torch.optim.SGD(model.parameters(), 0.1), "float16")


def test_attention_step_by_step_gives_the_same():
    model, states = nn.Linear(8, 8), torch.randn(1, 2, 5, 8)
    outputs = {}
    for fused in (True, False):
        wrapper = AutocastOptimWrapper(torch.optim.SGD(model.parameters(), 0.1), fused_attention=fused)
        with wrapper.optim_context(model):
            outputs[fused] = nn.functional.scaled_dot_product_attention(model(states), states, states)
    assert (
        "ScaledDotProduct" in outputs[True].grad_fn.name(),
        "ScaledDotProduct" in outputs[False].grad_fn.name(),
    ) == (
        True,
        False,
    )
    torch.testing.assert_close(outputs[True], outputs[False])


def test_accumulated_small_batches_equal_one_large_batch():
    torch.manual_seed(0)
    inputs, targets = torch.randn(8, 4), torch.randn(8, 1)
    results = []
    for parts in (1, 4):
        torch.manual_seed(1)
        model = nn.Linear(4, 1)
        wrapper = AutocastOptimWrapper(torch.optim.SGD(model.parameters(), 0.1), accumulative_counts=parts)
        wrapper.initialize_count_status(model, 0, parts)
        for x, y in zip(inputs.chunk(parts), targets.chunk(parts), strict=True):
            with wrapper.optim_context(model):
                loss = nn.functional.mse_loss(model(x), y)
            wrapper.update_params(loss)
        assert not wrapper.has_pending_gradients()
        results.append(model.weight.detach())
    torch.testing.assert_close(results[0], results[1], rtol=1e-6, atol=1e-7)


def test_pending_gradients_are_known():
    model = nn.Linear(1, 1)
    wrapper = AutocastOptimWrapper(torch.optim.SGD(model.parameters(), 0.1), accumulative_counts=3)
    wrapper.initialize_count_status(model, 0, 5)
    pending = []
    for _ in range(5):
        wrapper.update_params(model(torch.ones(1, 1)).sum())
        pending.append(wrapper.has_pending_gradients())
    assert pending == [True, True, False, True, False]  # the last update takes what is left


def test_clipping_limits_the_update_and_reports_the_norm_once():
    model = nn.Linear(3, 1, bias=False)
    start = model.weight.detach().clone()
    wrapper = AutocastOptimWrapper(torch.optim.SGD(model.parameters(), 1.0), clip_grad={"max_norm": 0.5})
    wrapper.update_params((model(torch.full((1, 3), 10.0))).sum())
    assert (model.weight - start).norm().item() == pytest.approx(0.5, abs=1e-5)
    assert wrapper.take_grad_norm().item() == pytest.approx(300**0.5)
    assert wrapper.take_grad_norm() is None
    wrapper = AutocastOptimWrapper(
        torch.optim.SGD(model.parameters(), 1.0), clip_grad={"type": "value", "clip_value": 0.1}
    )
    start = model.weight.detach().clone()
    wrapper.update_params((model(torch.full((1, 3), 10.0))).sum())
    torch.testing.assert_close(start - model.weight.detach(), torch.full((1, 3), 0.1))
