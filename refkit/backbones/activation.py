"""CLIP's activation, and how to keep fewer of the tensors that training needs again on the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_SLOPE = 1.702


def recomputed(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """``function(*inputs)`` that keeps only its inputs for the way back and computes the rest a second time.

    Values and gradients are those of a plain call; dropout draws the same numbers both times.
    """
    if not torch.is_grad_enabled():
        return function(*inputs)
    result: Tensor = checkpoint(function, *inputs, use_reentrant=False)
    return result


class QuickGELU(nn.Module):
    """``x * sigmoid(1.702 x)``, elementwise, of any shape; keeps one tensor for the way back, not two."""

    def forward(self, inner: Tensor) -> Tensor:
        """Same shape and dtype as ``inner``."""
        result: Tensor = _QuickGELU.apply(inner)
        return result


class _QuickGELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inner: Tensor) -> Tensor:
        ctx.save_for_backward(inner)
        return (inner * _SLOPE).sigmoid_().mul_(inner)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (inner,) = ctx.saved_tensors
        gate = (inner * _SLOPE).sigmoid_()
        # d/dx x s(ax) = s (1 + a x (1 - s))
        slope = (1 - gate).mul_(inner).mul_(_SLOPE).add_(1).mul_(gate)
        return slope.mul_(gradient)
