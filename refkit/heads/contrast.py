"""Image-text contrast (CLC): the towers keep telling which sentence belongs to which picture.

HiVG, section 3.4; official code ``models/HiVG.py`` (``--use_contrastive_loss``). It answers nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from refkit.losses.contrastive import contrast_logits, image_text_contrast
from refkit.registry import MODELS
from refkit.structures import Features, ReferringSample


@MODELS.register_module()
class ContrastHead(nn.Module):
    """CLIP's own loss on the pooled picture and sentence of a batch, bridges and adapters included.

    Args:
        width: not used: the towers' shared space decides.
        weight: coefficient; 1 in HiVG.
    """

    needs = ("image", "sentence", "contrast_scale")
    answers = False

    def __init__(self, *, width: int, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, features: Features) -> Tensor:
        """Logits ``(B, B)`` float32, a row per sentence, a column per picture."""
        if features.image is None or features.sentence is None or features.contrast_scale is None:
            raise ValueError("the contrast head needs the pooled picture: CLIPBackbone(pooled=True)")
        return contrast_logits(features.sentence, features.image, features.contrast_scale)

    def tensors(self, features: Features) -> dict[str, Tensor]:
        """``logits_per_text (B, B)``."""
        return {"logits_per_text": self(features)}

    def loss(self, features: Features, data_samples: Sequence[ReferringSample]) -> dict[str, Tensor]:
        """``loss_contrastive``, coefficient included, among the pairs of this process."""
        return {"loss_contrastive": self.weight * image_text_contrast(self(features))}
