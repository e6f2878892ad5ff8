"""Losses on maps of logits: one map per sample, any number of cells, computed in float32."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def focal(logits: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """``sum_b mean_n alpha_t (1 - p_t)^gamma BCE / B`` (Lin et al., 2017), in the normalisation of DETR.

    HiVG uses it for the region-text similarity map (RTCC) and for masks, each with coefficient 20.

    Args:
        logits: ``(B, ...)`` before the sigmoid.
        target: the same shape, 0 or 1.
        alpha: weight of the positive cells; the others get ``1 - alpha``.
        gamma: how much easy cells are damped.
    """
    logits, target = logits.float().flatten(1), target.float().flatten(1)
    probability = logits.sigmoid()
    error = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    missed = probability * (1 - target) + (1 - probability) * target
    weight = alpha * target + (1 - alpha) * (1 - target)
    return (weight * missed**gamma * error).mean(dim=1).sum() / max(len(logits), 1)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """``sum_b [1 - (2 sum p y + 1) / (sum p + sum y + 1)] / B`` with ``p = sigmoid(logits)``.

    Args:
        logits: ``(B, ...)`` before the sigmoid.
        target: the same shape, 0 or 1.
    """
    probability, target = logits.float().sigmoid().flatten(1), target.float().flatten(1)
    overlap = 2 * (probability * target).sum(dim=1) + 1
    total = probability.sum(dim=1) + target.sum(dim=1) + 1
    return (1 - overlap / total).sum() / max(len(probability), 1)
