"""Writes a model as one file that needs no other: weights, sizes, vocabulary and input transforms."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import Any

from torch import nn

from refkit.backbones.beit3 import BEiT3Backbone
from refkit.backbones.caption_tokenizer import T5Tokenizer
from refkit.backbones.clip import CLIPBackbone
from refkit.backbones.eva import CLIPTower, EVATower
from refkit.backbones.sentencepiece_tokenizer import SentencePieceTokenizer
from refkit.backbones.text_encoder import CLIPTextEncoder
from refkit.backbones.tokenizer import WordTokenizer
from refkit.heads.recogniser import RecognitionHead
from refkit.inference.model_config import ModelConfig


def self_contained(config: ModelConfig, model: nn.Module) -> ModelConfig:
    """The config without references to files: what was read from them stands in the config itself.

    A backbone is described by its numbers (its weights are in the weights file, so nothing is downloaded when
    the model is built again), a tokenizer by its vocabulary.

    Args:
        config: what ``model`` was built from.
        model: the model.
    """
    content = copy.deepcopy(config.model)
    content.pop("adapters", None)  # merged into the weights when the model was loaded
    if without := getattr(model, "without", None):
        content["without"] = sorted(without)
    _describe(content, model)
    return ModelConfig(content, config.pipeline)


def _describe(content: dict[str, Any], part: Any) -> None:
    """Put into the config of a part, and of the parts inside it, what it was told by file or by name."""
    if isinstance(part, CLIPBackbone | BEiT3Backbone):
        content.update(size=asdict(part.size), weights=None, image_size=None)
    elif isinstance(part, CLIPTower):
        content.update(size=asdict(part.size), weights=None)
    elif isinstance(part, CLIPTextEncoder):
        content.update(size=asdict(part.size), weights=None, cache=None)
    elif isinstance(part, EVATower):
        content.update(weights=None)
    elif isinstance(part, WordTokenizer):
        content["vocabulary"] = part.words
    elif isinstance(part, SentencePieceTokenizer | T5Tokenizer):
        content["content"] = part.content
    elif isinstance(part, RecognitionHead):
        content.update({task: table.as_names() for task, table in part.tables().items()})
    for name, value in content.items():
        inside = part[name] if isinstance(part, nn.ModuleDict) else getattr(part, name, None)
        if isinstance(value, dict) and inside is not None:
            _describe(value, inside)
