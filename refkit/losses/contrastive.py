"""Contrastive losses between pictures, regions and texts, computed in float32 whatever they are given."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def contrast_logits(rows: Tensor, columns: Tensor, scale: Tensor | float) -> Tensor:
    """``scale * cos(rows_i, columns_j)``: ``(R, C)`` and ``(M, C)`` embeddings to ``(R, M)`` logits."""
    with torch.autocast(rows.device.type, enabled=False):
        return scale * (F.normalize(rows.float(), dim=-1) @ F.normalize(columns.float(), dim=-1).T)


def image_text_contrast(logits_per_text: Tensor) -> Tensor:
    """``(CE(logits, i) + CE(logits^T, i)) / 2`` of ``(B, B)`` logits, text ``i`` belonging to picture ``i``.

    HiVG's CLC constraint and CLIP's own loss, within one process. As published, an expression that occurs
    twice in the batch counts as a negative of its double; `symmetric_contrast` can be told better.
    """
    pairs = torch.eye(len(logits_per_text), dtype=torch.bool, device=logits_per_text.device)
    return symmetric_contrast(logits_per_text, pairs)


def region_text_contrast(
    region_embed: Tensor, text_embed: Tensor, positives: Tensor, scale: Tensor | float
) -> Tensor:
    """`symmetric_contrast` of ``R`` regions ``(R, C)`` and ``M`` texts ``(M, C)``.

    Args:
        region_embed: embeddings of regions, of any length.
        text_embed: embeddings of texts, of any length.
        positives: ``(R, M)`` bool, True where the text describes the region.
        scale: factor of the cosine, the inverse temperature.
    """
    return symmetric_contrast(contrast_logits(region_embed, text_embed, scale), positives)


def symmetric_contrast(logits: Tensor, positives: Tensor) -> Tensor:
    """InfoNCE in both directions with several positives, ``(R, M)`` logits and ``(R, M)`` bool.

    Each row contributes ``-mean_{p in P(i)} log softmax(logits_i)_p`` (Khosla et al., 2020, equation 2),
    each column likewise; both means are averaged. Rows and columns without a positive only serve as
    negatives; without any positive at all the loss is 0.
    """
    logits = logits.float()
    return (_one_way(logits, positives) + _one_way(logits.T, positives.T)) / 2


def _one_way(logits: Tensor, positives: Tensor) -> Tensor:
    counts = positives.sum(dim=1)
    hits = torch.where(positives, logits.log_softmax(dim=1), 0.0).sum(dim=1)
    return -(hits / counts.clamp(min=1)).sum() / (counts > 0).sum().clamp(min=1)
