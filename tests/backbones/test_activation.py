"""What is kept for the way back, and that nothing else changes by keeping less."""

import pytest
import torch
import torch.nn.functional as F

from refkit.backbones.activation import QuickGELU, recomputed
from refkit.backbones.grounding import GroundingEncoder
from refkit.backbones.hilora import DroppedLinear
from refkit.structures import FeatureSizes


def kept_bytes(run):
    """Bytes of the distinct tensors that autograd keeps while ``run`` runs."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    return result, sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_quick_gelu_has_the_values_and_gradients_of_its_formula_and_keeps_one_tensor():
    inner = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    ours, kept = kept_bytes(lambda: QuickGELU()(inner))
    plain, kept_by_formula = kept_bytes(lambda: inner * torch.sigmoid(1.702 * inner))
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-15)
    assert kept == 5 * 7 * 8 < kept_by_formula
    assert torch.autograd.gradcheck(QuickGELU(), inner)


def test_recomputed_dropout_draws_the_same_numbers_twice():
    states = torch.randn(64, 32, requires_grad=True)
    torch.manual_seed(3)
    plain = F.dropout(states, 0.5).exp().mul(2)
    torch.manual_seed(3)
    lean = recomputed(lambda inner: F.dropout(inner, 0.5).exp().mul(2), states)
    assert torch.equal(plain, lean)
    gradients = [torch.autograd.grad(result.sum(), states)[0] for result in (plain, lean)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("training", [True, False])
def test_the_matrix_after_dropout_equals_dropout_and_matrix(training):
    linear = torch.nn.Linear(32, 4, bias=False)
    layer = DroppedLinear(linear, 0.3).train(training)
    states = torch.randn(64, 32, requires_grad=True)

    def run(function):
        torch.manual_seed(3)
        result, kept = kept_bytes(lambda: function(states))
        return result, kept, *torch.autograd.grad(result.square().sum(), (states, linear.weight))

    ours, ours_kept, *ours_gradients = run(layer)
    plain, plain_kept, *plain_gradients = run(lambda x: linear(F.dropout(x, 0.3, training)))
    assert torch.equal(ours, plain)
    assert ours_kept < plain_kept or not training
    for one, other in zip(ours_gradients, plain_gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_an_encoder_that_computes_its_layers_twice_learns_the_same():
    sizes = FeatureSizes(levels=(16,), text=16, grid=(2, 2), prefix_tokens=1, context_length=4)
    torch.manual_seed(0)
    encoder = GroundingEncoder(sizes=sizes, width=16, layers=2, heads=2, dropout=0.2).train()
    tokens = torch.randn(3, 5, 16), torch.randn(3, 4, 16)
    mask = torch.ones(3, 10, dtype=torch.bool)

    def run(checkpointing):
        encoder.checkpointing = checkpointing
        torch.manual_seed(1)
        fused, kept = kept_bytes(lambda: encoder.fuse(torch.zeros(3, 1, 16), *tokens, mask))
        encoder.zero_grad()
        fused.square().sum().backward()
        return (
            fused,
            kept,
            {name: one.grad for name, one in encoder.named_parameters() if one.grad is not None},
        )

    (plain, much, expected), (lean, little, found) = run(False), run(True)
    assert torch.equal(plain, lean)
    assert little < much / 2
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], msg=name)
