"""One box from patches weighted by their similarity with the sentence.

OneRef, section 3.3 (REC); official code ``models/OneRef.py``. As published, the cosines are weights as
they are, without a temperature, so that the pooling is close to a mean.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from refkit.heads.box import BoxHead
from refkit.registry import MODELS
from refkit.structures import Features


@MODELS.register_module()
class SimilarityBoxHead(BoxHead):
    """`BoxHead` on ``sum_i softmax(scale S)_i (W V_i + b)`` over all patches, padding included as published.

    Args:
        width: channels of the patches.
        regression: ``l1`` (released code) or ``smooth_l1``.
        box_weight: coefficient of the regression loss; 1 in OneRef.
        giou_weight: coefficient of the GIoU loss; 1 in OneRef.
        scale: factor of the cosines before the softmax, an inverse temperature; 1 in OneRef.
    """

    needs = ("visual", "similarity")

    def __init__(
        self,
        *,
        width: int,
        regression: Literal["l1", "smooth_l1"] = "l1",
        box_weight: float = 1.0,
        giou_weight: float = 1.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__(width=width, regression=regression, box_weight=box_weight, giou_weight=giou_weight)
        self.projection = nn.Linear(width, width)
        self.scale = scale

    def token(self, features: Features) -> Tensor:
        """The pooled patches ``(B, C)``.

        Pooled first and projected then, which is the same because the weights add up to 1, at the cost of one
        token instead of ``N``.
        """
        weights = self.weights(features)
        with torch.autocast(weights.device.type, enabled=False):
            pooled = torch.einsum("bn,bnc->bc", weights, features.visual.float())
        return self.projection(pooled.to(self.projection.weight.dtype))

    def weights(self, features: Features) -> Tensor:
        """Share of every patch, ``(B, N)`` float32, sum 1."""
        if features.similarity is None:
            raise ValueError(
                "the similarity box head needs features.similarity: BEiT3Backbone, or "
                "CLIPBackbone(similarity=True)"
            )
        return (self.scale * features.similarity.float()).softmax(dim=-1)

    def tensors(self, features: Features) -> dict[str, Tensor]:
        """As `BoxHead`, with ``token_weights (B, N)`` and ``pooled (B, C)``."""
        named = {"token_weights": self.weights(features), "pooled": self.token(features)}
        return named | super().tensors(features)
