"""Box regression losses: ``(B, 4)`` tensors in, computed in float32 whatever they are."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

_TINY = 1e-12


def l1(pred: Tensor, target: Tensor) -> Tensor:
    """``sum |pred - target| / B``: absolute error, summed over the four coordinates, averaged over boxes.

    The box loss of HiVG's released code (``models/HiVG_loss.py`` in the form of DETR's ``loss_bbox``).
    """
    return (pred.float() - target.float()).abs().sum() / max(len(pred), 1)


def smooth_l1(pred: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """``sum huber(pred - target) / B`` with ``d^2 / (2 beta)`` below ``beta`` and ``|d| - beta / 2`` above.

    The box loss of HiVG's paper (equation of the total loss).
    """
    return F.smooth_l1_loss(pred.float(), target.float(), reduction="sum", beta=beta) / max(len(pred), 1)


def giou(pred: Tensor, target: Tensor) -> Tensor:
    """``mean (1 - GIoU)`` of boxes ``xyxy``, ``GIoU = I / U - (C - U) / C`` (Rezatofighi et al., 2019).

    ``I`` intersection, ``U`` union, ``C`` area of the smallest box around both.
    """
    return (1 - generalized_iou(pred, target)).sum() / max(len(pred), 1)


def generalized_iou(pred: Tensor, target: Tensor) -> Tensor:
    """Pairwise-aligned GIoU ``(B,)`` in [-1, 1] of boxes ``xyxy (B, 4)``.

    Boxes without area give finite values and gradients: denominators are bounded from below by 1e-12.
    """
    pred, target = pred.float(), target.float()
    low, high = pred[:, :2].maximum(target[:, :2]), pred[:, 2:].minimum(target[:, 2:])
    intersection = (high - low).clamp(min=0).prod(dim=1)
    union = _area(pred) + _area(target) - intersection
    hull = (pred[:, 2:].maximum(target[:, 2:]) - pred[:, :2].minimum(target[:, :2])).prod(dim=1)
    return intersection / union.clamp(min=_TINY) - (hull - union) / hull.clamp(min=_TINY)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
