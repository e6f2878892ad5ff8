"""Towers and what joins them: images and words in, `Features` out."""

from refkit.backbones.clip import CLIPBackbone
from refkit.backbones.grounding import GroundingEncoder
from refkit.backbones.tokenizer import CLIPTokenizer, Tokenizer, WordTokenizer, trim_to_longest

__all__ = [
    "CLIPBackbone",
    "CLIPTokenizer",
    "GroundingEncoder",
    "Tokenizer",
    "WordTokenizer",
    "trim_to_longest",
]
