"""Batch normalisation of linear maps without their output: its statistics follow from those of the input.

For ``y = W_p x`` over all inputs ``x`` and all maps, ``mean(y)`` and ``var(y)`` are functions of the mean
and the covariance of ``x``, which are small. Normalisation is then a scale and a shift of the maps, in
training as in evaluation; ``y`` itself is never normalised, nor is its normalised copy held for the backward
pass.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def fold_running(norm: nn.BatchNorm1d, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Maps ``(P, out, in)`` with the running statistics of their normalisation folded in.

    Returns:
        maps ``(P, out, in)`` and shifts ``(out,)``.
    """
    assert norm.running_mean is not None and norm.running_var is not None
    return _folded(norm, maps, norm.running_mean, norm.running_var)


def fold_batch(norm: nn.BatchNorm1d, maps: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Maps with the statistics of this batch folded in, as `torch.nn.BatchNorm1d` does in training.

    The running statistics are updated.

    Args:
        norm: normalisation of the outputs of all maps together.
        maps: ``(P, out, in)``.
        tokens: the inputs ``(…, in)``.

    Returns:
        maps ``(P, out, in)`` and shifts ``(out,)``, float32, differentiable in everything.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        inputs, maps = tokens.float().flatten(0, -2), maps.float()
        centre = inputs.mean(0)
        centred = inputs - centre
        covariance = centred.T @ centred / len(inputs)
        means = maps @ centre
        mean = means.mean(0)
        within = ((maps @ covariance) * maps).sum(-1)
        var = (within + (means - mean).square()).mean(0)
        _track(norm, mean.detach(), var.detach(), len(inputs) * len(maps))
        return _folded(norm, maps, mean, var)


def _folded(norm: nn.BatchNorm1d, maps: Tensor, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
    scale = norm.weight * torch.rsqrt(var + norm.eps)
    return maps * scale[:, None], norm.bias - mean * scale


@torch.no_grad()
def _track(norm: nn.BatchNorm1d, mean: Tensor, var: Tensor, count: int) -> None:
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    momentum = norm.momentum if norm.momentum is not None else 1 / int(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.lerp_(var * count / max(count - 1, 1), momentum)
