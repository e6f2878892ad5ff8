"""Task heads: `Features` in, losses and predictions out. A head never imports a backbone.

Every head has ``needs`` (the fields of `Features` it reads), ``answers`` (whether it predicts, or only
teaches), ``tensors``, ``loss`` and, if it answers, ``predict``.
"""

from refkit.heads.box import BoxHead
from refkit.heads.caption import CaptionHead
from refkit.heads.contrast import ContrastHead
from refkit.heads.cosine_mask import CosineMaskHead
from refkit.heads.language_model import CausalWriter, T5Writer
from refkit.heads.mask import MaskHead
from refkit.heads.mask_referring import MaskedImageHead, MaskedTextHead
from refkit.heads.recognition import RegionContrastHead, TagHead
from refkit.heads.region_text import RegionTextHead
from refkit.heads.similarity import SimilarityConstraintHead
from refkit.heads.similarity_box import SimilarityBoxHead

__all__ = [
    "BoxHead",
    "CaptionHead",
    "CausalWriter",
    "ContrastHead",
    "CosineMaskHead",
    "MaskHead",
    "MaskedImageHead",
    "MaskedTextHead",
    "RegionContrastHead",
    "RegionTextHead",
    "SimilarityBoxHead",
    "SimilarityConstraintHead",
    "T5Writer",
    "TagHead",
]
