"""Losses of recognising regions: many tags at once, and regions against texts; computed in float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def asymmetric(
    logits: Tensor,
    targets: Tensor,
    gamma_negative: float = 7.0,
    gamma_positive: float = 0.0,
    clip: float = 0.05,
    eps: float = 1e-8,
) -> Tensor:
    """Asymmetric loss of multi-label classification, summed over everything (DynRefer, section 3.3).

    ``-sum (1 - p_t)^gamma [y log max(p, eps) + (1 - y) log max(q, eps)]`` with ``p = sigmoid(z)`` and
    ``q = min(1 - p + clip, 1)``; ``p_t`` is ``p`` where ``y = 1`` and ``q`` where ``y = 0``, and gives no
    gradient (Ridnik et al., 2021, as released with RAM).

    Args:
        logits: ``z`` of any shape.
        targets: ``y`` of the same shape, 0 or 1.
        gamma_negative, gamma_positive: exponents for ``y = 0`` and ``y = 1``.
        clip: probability by which a negative is already right.
        eps: floor of the logarithms' arguments.
    """
    targets = targets.to(torch.float32)
    positive = logits.float().sigmoid()
    negative = (1 - positive + clip).clamp(max=1)
    entropy = targets * positive.clamp(min=eps).log() + (1 - targets) * negative.clamp(min=eps).log()
    with torch.no_grad():
        likely = positive * targets + negative * (1 - targets)
        focus = (1 - likely) ** (gamma_positive * targets + gamma_negative * (1 - targets))
    return -(focus * entropy).sum()


def pairwise_sigmoid(logits: Tensor, first: int = 0) -> Tensor:
    """SigLIP's loss of ``b`` local items against ``M`` gathered ones, per local item.

    ``-sum log sigmoid(y z) / b``, ``y = 1`` where column ``first + i`` meets row ``i``, else -1 (DynRefer,
    section 3.3). The same caption twice in a batch is a negative of its double, as released.

    Args:
        logits: ``(b, M)``.
        first: column of the first row's partner.
    """
    rows = torch.arange(len(logits), device=logits.device)
    labels = -torch.ones_like(logits, dtype=torch.float32)
    labels[rows, first + rows] = 1.0
    return -F.logsigmoid(labels * logits.float()).sum() / len(logits)
