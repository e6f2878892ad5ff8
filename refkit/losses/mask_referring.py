"""Losses of Mask Referring Modeling (OneRef, section 3.2), computed in float32 whatever they are given.

Notation: ``B`` batch, ``N`` patches, ``P`` word positions, ``K`` masked tokens, ``V`` vocabulary.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

RelationSoftmax = Literal["double", "single"]


def smoothed_divergence(logits: Tensor, labels: Tensor, smoothing: float = 0.1) -> Tensor:
    """``KL(t || softmax(logits))`` per token, with ``t`` = ``1 - s`` on the label, ``s / (V - 1)`` elsewhere.

    The label-smoothed cross-entropy minus the entropy of ``t``, which is constant (official code,
    ``LabelSmoothingLoss``).

    Args:
        logits: ``(K, V)``.
        labels: ``(K,)`` int64.
        smoothing: ``s``.

    Returns:
        ``(K,)``, none of them averaged.
    """
    vocabulary = logits.shape[-1]
    # torch spreads its smoothing over all V entries, the label's included.
    spread = smoothing * vocabulary / (vocabulary - 1)
    cross_entropy = F.cross_entropy(logits.float(), labels, label_smoothing=spread, reduction="none")
    parts = ((1 - smoothing, 1 - smoothing), (smoothing, smoothing / (vocabulary - 1)))
    entropy = -sum(share * math.log(each) for share, each in parts if share > 0)
    return cross_entropy - entropy


def mean_without_worst(losses: Tensor, dropped: float) -> Tensor:
    """Mean of the ``int((1 - dropped) K)`` smallest of ``K`` losses; of none of them, 0.

    Large losses late in training are mostly words that nothing could predict (official code: the worst 20 %
    from optimizer step 12000 on).
    """
    kept = int((1.0 - dropped) * len(losses))
    if not kept:
        return losses.sum() * 0.0
    return losses.topk(kept, largest=False).values.mean() if kept < len(losses) else losses.mean()


def visual_relation(boxes: Tensor, grid: tuple[int, int]) -> Tensor:
    """Targets of the visual target-relation score: how far every patch is from the target, its share of it.

    Patch (row ``j``, column ``i``) has
    ``[i / columns - cx, j / rows - cy, 1 / max(columns w, 1), 1 / max(rows h, 1)]``: offset of its index (not
    its centre) from the centre of the box, and its width and height over those of the box (released code;
    spec 5.4).

    Args:
        boxes: ``(B, 4)`` cxcywh relative to the canvas.
        grid: ``(rows, columns)``.

    Returns:
        ``(B, rows * columns, 4)`` float32.
    """
    rows, columns = grid
    cx, cy, width, height = boxes.float()[:, :, None, None].unbind(1)
    across = torch.arange(columns, device=boxes.device).view(1, 1, -1) / columns - cx
    down = torch.arange(rows, device=boxes.device).view(1, -1, 1) / rows - cy
    shares = 1 / (columns * width).clamp(min=1), 1 / (rows * height).clamp(min=1)
    parts = torch.broadcast_tensors(across, down, *shares)
    return torch.stack(parts, dim=-1).flatten(1, 2)


def cosine_distance(pred: Tensor, target: Tensor) -> Tensor:
    """``mean (1 - cos(pred, target))`` over vectors ``(..., D)``: the reconstruction loss of VQ-KD."""
    return (1 - F.cosine_similarity(pred.float(), target.float(), dim=-1)).mean()


def relation_l1(pred: Tensor, target: Tensor) -> Tensor:
    """``mean_{b, i} sum_c |pred - target|`` of visual target-relation scores ``(B, N, 4)``."""
    return (pred.float() - target.float()).abs().sum(dim=-1).mean()


def relation_divergence(
    logits: Tensor, scores: Tensor, counted: Tensor, softmax: RelationSoftmax = "single"
) -> Tensor:
    """``sum_b KL(softmax(scores) || q) / B`` of semantic target-relation scores over the words of a sentence.

    Args:
        logits: ``(B, P)`` predicted.
        scores: ``(B, P)`` of the teacher.
        counted: ``(B, P)`` bool, False = not a word; it takes no part in either distribution. Sentences
            without a single word count as 0.
        softmax: ``single``: ``q = softmax(logits)``. ``double``: ``q = softmax(softmax(logits))``, as in the
            released code, where a softmax is taken in the head and another in the loss; its logits are then
            in [0, 1], and no word can get more than e times the share of another.
    """
    if softmax == "double":
        logits = masked_softmax(logits, counted)
    logq = logits.float().masked_fill(~counted, -torch.inf).log_softmax(dim=-1)
    target = masked_softmax(scores, counted)
    # xlogy and where keep 0 * log 0 out of values and gradients.
    terms = torch.special.xlogy(target, target) - target * torch.where(counted, logq, 0.0)
    present = counted.any(dim=-1)
    return torch.where(present, torch.where(counted, terms, 0.0).sum(dim=-1), 0.0).sum() / max(len(logits), 1)


def masked_softmax(scores: Tensor, counted: Tensor) -> Tensor:
    """Softmax ``(B, P)`` float32 over the positions that count; 0 elsewhere, and in rows where none does."""
    shares = scores.float().masked_fill(~counted, -torch.inf).softmax(dim=-1)
    return torch.where(counted, shares, 0.0)
