"""OneRef: one transformer for picture and words, heads on its patches, nothing to fuse them afterwards.

Xiao et al., "OneRef: Unified One-tower Expression Grounding and Segmentation with Mask Referring Modeling",
NeurIPS 2024, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from refkit.models.headed import HeadedModel
from refkit.registry import MODELS
from refkit.structures import Features


@MODELS.register_module()
class OneRef(HeadedModel):
    """Heads directly on a backbone whose patches already know the sentence.

    Args:
        backbone: `BEiT3Backbone`, or any module from inputs to `Features` that states its ``feature_sizes``.
        heads: by name; their ``width`` is that of the backbone's visual tokens.
        freeze: names of parts that are not trained, see `ReferringModel`.
        data_preprocessor: see MMEngine.
        adapters: `HiLoRA`, see `ReferringModel`.
        without: names of heads that are switched off (``heads.mask``).

    Raises:
        TokenizerError: the preprocessor's vocabulary is not that of the backbone's word table.
    """

    masks_patches = False
    """Whether training hides patches, so that the backbone's mask token learns."""

    def __init__(
        self,
        backbone: dict[str, Any],
        heads: dict[str, dict[str, Any]],
        freeze: Sequence[str] = (),
        data_preprocessor: Any = None,
        adapters: dict[str, Any] | None = None,
        without: Sequence[str] = (),
    ) -> None:
        super().__init__(data_preprocessor, freeze, adapters, without)
        self.backbone = MODELS.build(backbone)
        self._check_vocabulary()
        self.heads = self.build_heads(heads, self.backbone.feature_sizes.levels[-1])
        if hasattr(self.backbone, "train_for"):
            read = {field for head in self.heads.values() for field in head.needs}  # type: ignore[union-attr]
            self.backbone.train_for(read, masking=self.masks_patches)
        self.apply_freeze()

    def _check_vocabulary(self) -> None:
        """Whether tokenizer and word table belong together, where both are known."""
        tokenizer: Any = getattr(self.data_preprocessor, "tokenizer", None)
        size: Any = getattr(self.backbone, "size", None)
        if hasattr(tokenizer, "check_rows") and hasattr(size, "vocab_size"):
            tokenizer.check_rows(size.vocab_size)

    def features(self, inputs: Mapping[str, Tensor], attention: bool = False) -> Features:
        """The backbone's features; ``attention`` asks for its maps."""
        return self.backbone(inputs, attention=attention)

    def tensors(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the backbone compares and the heads say; names as in the released code's order.

        ``language_cls (B, C)`` and ``vision_cls (B, C)`` (first word token and class token, unit vectors in
        the shared space), ``similarity (B, N)`` (cosine of ``language_cls`` and every patch), and by the
        heads ``token_weights (B, N)``, ``pooled (B, C)``, ``box_logits (B, 4)``, ``pred_boxes (B, 4)`` and
        ``mask_logits (B, 1, 8 rows, 8 columns)``.
        """
        features = self.features(inputs)
        read = {
            "language_cls": features.sentence,
            "vision_cls": features.image,
            "similarity": features.similarity,
        }
        named = {name: value for name, value in read.items() if value is not None}
        return named | self.head_tensors(features)
