"""Towers and what joins them: images and words in, `Features` out."""

from refkit.backbones.beit3 import BEiT3Backbone
from refkit.backbones.bridge import CrossModalBridge
from refkit.backbones.clip import CLIPBackbone
from refkit.backbones.code_cache import CachedCodes
from refkit.backbones.grounding import GroundingEncoder
from refkit.backbones.hilora import AdapterError, HiLoRA
from refkit.backbones.sentencepiece_tokenizer import SentencePieceTokenizer
from refkit.backbones.tokenizer import CLIPTokenizer, Tokenizer, WordTokenizer
from refkit.backbones.vqkd import VQKD

__all__ = [
    "VQKD",
    "AdapterError",
    "BEiT3Backbone",
    "CLIPBackbone",
    "CLIPTokenizer",
    "CachedCodes",
    "CrossModalBridge",
    "GroundingEncoder",
    "HiLoRA",
    "SentencePieceTokenizer",
    "Tokenizer",
    "WordTokenizer",
]
