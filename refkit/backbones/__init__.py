"""Towers and what joins them: images and words in, `Features` out."""

from refkit.backbones.beit3 import BEiT3Backbone
from refkit.backbones.bridge import CrossModalBridge
from refkit.backbones.caption_tokenizer import PretrainedTokenizer, T5Tokenizer
from refkit.backbones.clip import CLIPBackbone
from refkit.backbones.code_cache import CachedCodes
from refkit.backbones.eva import BEiT3Tower, CLIPTower, EVATower, TimmTower
from refkit.backbones.grounding import GroundingEncoder
from refkit.backbones.hilora import AdapterError, HiLoRA
from refkit.backbones.region import RegionEncoder
from refkit.backbones.sentencepiece_tokenizer import SentencePieceTokenizer
from refkit.backbones.text_encoder import CLIPTextEncoder
from refkit.backbones.tokenizer import CLIPTokenizer, Tokenizer, WordTokenizer
from refkit.backbones.vqkd import VQKD

__all__ = [
    "VQKD",
    "AdapterError",
    "BEiT3Backbone",
    "BEiT3Tower",
    "CLIPBackbone",
    "CLIPTextEncoder",
    "CLIPTokenizer",
    "CLIPTower",
    "CachedCodes",
    "CrossModalBridge",
    "EVATower",
    "GroundingEncoder",
    "HiLoRA",
    "PretrainedTokenizer",
    "RegionEncoder",
    "SentencePieceTokenizer",
    "T5Tokenizer",
    "TimmTower",
    "Tokenizer",
    "WordTokenizer",
]
