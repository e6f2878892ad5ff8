"""Writes a model as one file that needs no other: weights, sizes, vocabulary and input transforms."""

from __future__ import annotations

import copy
from dataclasses import asdict

from torch import nn

from refkit.backbones.beit3 import BEiT3Backbone
from refkit.backbones.clip import CLIPBackbone
from refkit.backbones.sentencepiece_tokenizer import SentencePieceTokenizer
from refkit.backbones.tokenizer import WordTokenizer
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
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, CLIPBackbone | BEiT3Backbone):
        content["backbone"].update(size=asdict(backbone.size), weights=None, image_size=None)
    tokenizer = getattr(getattr(model, "data_preprocessor", None), "tokenizer", None)
    if isinstance(tokenizer, WordTokenizer):
        content["data_preprocessor"]["tokenizer"]["vocabulary"] = tokenizer.words
    elif isinstance(tokenizer, SentencePieceTokenizer):
        content["data_preprocessor"]["tokenizer"]["content"] = tokenizer.content
    return ModelConfig(content, config.pipeline)
