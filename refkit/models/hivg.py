"""HiVG: multi-level CLIP features → perceiver → grounding encoder with [REG] → heads.

Xiao et al., "HiVG: Hierarchical Multimodal Fine-grained Modulation for Visual Grounding", ACM MM 2024,
figure 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from refkit.models.headed import HeadedModel
from refkit.registry import MODELS
from refkit.structures import Features


@MODELS.register_module()
class HiVG(HeadedModel):
    """CLIP's levels and words fused around one [REG] token, from which the heads read.

    Args:
        backbone: `CLIPBackbone`, or any module from inputs to `Features` that states its ``feature_sizes``.
            Its ``visual_projection (D, C)``, if it has one that fits, is where the perceiver starts.
        encoder: `GroundingEncoder`; its ``sizes`` are the backbone's.
        heads: by name; their ``width`` is the encoder's.
        freeze: names of parts that are not trained, see `ReferringModel`.
        adapters: `HiLoRA`, see `ReferringModel`.
        without: names of parts switched off: heads (``heads.mask``) and ``backbone.bridges``.
        data_preprocessor: see MMEngine.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        encoder: dict[str, Any],
        heads: dict[str, dict[str, Any]],
        freeze: Sequence[str] = (),
        data_preprocessor: Any = None,
        adapters: dict[str, Any] | None = None,
        without: Sequence[str] = (),
    ) -> None:
        super().__init__(data_preprocessor, freeze, adapters, without)
        self.backbone = MODELS.build(backbone)
        self.encoder = MODELS.build({**encoder, "sizes": self.backbone.feature_sizes})
        self.heads = self.build_heads(heads, self.encoder.width)
        projection = getattr(self.backbone, "visual_projection", None)
        if projection is not None and len(projection) == self.encoder.width:
            self.encoder.start_from(projection)
        self.apply_freeze()

    def features(self, inputs: Mapping[str, Tensor], attention: bool = False) -> Features:
        """Fused features of a batch; ``attention`` asks for the maps of both transformers."""
        return self.encoder(self.backbone(inputs, attention=attention), attention=attention)

    def answering_features(self, inputs: Mapping[str, Tensor], heads: Sequence[Any]) -> Features:
        """As `features`; nothing but [REG] where the heads read it alone (`GroundingEncoder.read`)."""
        features = self.backbone(inputs)
        lean = all(head.needs == ("region_token",) for head in heads) and hasattr(self.encoder, "read")
        return self.encoder.read(features) if lean else self.encoder(features)

    def tensors(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """What enters and leaves the encoder, and what the heads say; names as in the released code's order.

        ``visual_tokens (B, 1 + N, D)``, ``text_tokens (B, T, D)``, ``encoder_out (B, L, D)``,
        ``visual_token_mask (B, N)`` and ``text_token_mask (B, T)`` (True = masked), and by the heads
        ``box_logits (B, 4)``, ``pred_boxes (B, 4)``, ``rtcc_logits (B, N)``, ``logits_per_text (B, B)``,
        ``seg_logits (B, 1, 8 rows, 8 columns)``.
        """
        features = self.backbone(inputs)
        visual, text = self.encoder.project(features)
        region = self.encoder.start(visual, features)
        sequence = self.encoder.fuse(region, visual, text, self.encoder.key_mask(features))
        fused = self.encoder.split(sequence, features)
        named = {
            "visual_tokens": visual,
            "text_tokens": text,
            "encoder_out": sequence,
            "visual_token_mask": ~features.visual_mask,
            "text_token_mask": ~features.text_mask,
        }
        return named | self.head_tensors(fused)

    def _switch_off(self, without: Iterable[str]) -> None:
        super()._switch_off(without)
        if hasattr(self.backbone, "bridging"):
            self.backbone.bridging = "backbone.bridges" not in self.without
