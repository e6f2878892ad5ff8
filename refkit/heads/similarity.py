"""Box-mask constraint: the cosine of sentence and patch shall be high in the target box and low elsewhere.

OneRef, section 3.3 (referring box-mask constraint) and the first loss of its pre-training; official code
``models/criterion.py``. Cosines serve as logits, as published, so neither loss can come near zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from refkit.heads.region_text import box_map
from refkit.losses.masks import dice, focal
from refkit.registry import MODELS
from refkit.structures import Features, ReferringSample

_CORNER = 0.0  # nearest-neighbour down-sampling reads the upper left pixel of a patch


@MODELS.register_module()
class SimilarityConstraintHead(nn.Module):
    """Focal and dice loss on ``Features.similarity``; it has no parameters and answers nothing.

    Args:
        width: not used: the backbone's shared space decides.
        focal_weight: coefficient of the focal loss; 20 in OneRef.
        dice_weight: coefficient of the dice loss; 2 in OneRef.
        scale: factor of the cosines in the losses, an inverse temperature; 1 in OneRef.
        threshold: cosine at which a patch is as likely inside as outside; 0 in OneRef. After contrastive
            pre-training, where all cosines are high, the losses would otherwise first turn all patches away
            from all sentences.
    """

    needs = ("similarity",)
    answers = False

    def __init__(
        self,
        *,
        width: int,
        focal_weight: float = 20.0,
        dice_weight: float = 2.0,
        scale: float = 1.0,
        threshold: float = 0.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.threshold = threshold
        self.focal_weight = focal_weight
        self.dice_weight = dice_weight

    def forward(self, features: Features) -> Tensor:
        """Cosines ``(B, N)`` float32 in [-1, 1]."""
        if features.similarity is None:
            raise ValueError(
                "the similarity constraint needs features.similarity: BEiT3Backbone, or "
                "CLIPBackbone(similarity=True)"
            )
        return features.similarity.float()

    def tensors(self, features: Features) -> dict[str, Tensor]:
        """``similarity (B, N)``."""
        return {"similarity": self(features)}

    def loss(self, features: Features, data_samples: Sequence[ReferringSample]) -> dict[str, Tensor]:
        """`losses` against the patches whose upper left corner lies in a target box; padding is negative."""
        target = box_map(data_samples, features.grid, _CORNER)
        return self.losses((self(features) - self.threshold) * self.scale, torch.from_numpy(target))

    def losses(self, similarity: Tensor, target: Tensor) -> dict[str, Tensor]:
        """``loss_mrm_focal`` and ``loss_mrm_dice``, coefficients included.

        Args:
            similarity: ``(B, N)`` logits.
            target: ``(B, N)``, 0 or 1, on any device.
        """
        target = target.to(similarity.device)
        return {
            "loss_mrm_focal": self.focal_weight * focal(similarity, target),
            "loss_mrm_dice": self.dice_weight * dice(similarity, target),
        }
