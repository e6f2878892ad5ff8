"""Towers and what joins them: images and words in, `Features` out."""

from refkit.backbones.bridge import CrossModalBridge
from refkit.backbones.clip import CLIPBackbone
from refkit.backbones.grounding import GroundingEncoder
from refkit.backbones.tokenizer import CLIPTokenizer, Tokenizer, WordTokenizer

__all__ = [
    "CLIPBackbone",
    "CLIPTokenizer",
    "CrossModalBridge",
    "GroundingEncoder",
    "Tokenizer",
    "WordTokenizer",
]
