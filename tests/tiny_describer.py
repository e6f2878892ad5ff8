"""A whole DynRefer of a few thousand weights, saved as one file, that `refkit describe` and `predict` take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny_models as tiny
import torch

from refkit.data.preprocessor import ReferringPreprocessor
from refkit.inference.export import self_contained
from refkit.inference.model_config import ModelConfig
from refkit.zoo.weights import save_weights


def save_tiny_describer(folder: Path, *first: dict[str, Any], silent: bool = False, **shown: Any) -> Path:
    """The file; ``first`` are transforms before its views, ``shown`` settings of these; a ``silent`` language
    model writes nothing."""
    config = tiny.dynrefer_config(folder, data_preprocessor={"type": ReferringPreprocessor})
    words = {"type": "WordTokenizer", "vocabulary": str(folder / "words.json"), "context_length": 12}
    config["text_encoder"]["tokenizer"] = words
    config["heads"]["caption"]["tokenizer"] = {"type": "T5Tokenizer", "model": str(folder / "words.spm")}
    model = tiny.build(config)
    if silent:
        silence(model.heads["caption"].language_model.model, end=1)
    views = {"type": "RegionViews", "views": 2, "side": 32, "selection": [0.0, 0.5], **shown}
    stored = self_contained(
        ModelConfig.checked({"model": config, "pipeline": [*first, views]}, "here"), model
    )
    plain = {"model": stored.model, "pipeline": stored.pipeline}
    return save_weights(model, folder / "regions.safetensors", plain)


@torch.no_grad()
def silence(writer: Any, end: int) -> None:
    """Weights with which the end of the text is always the likeliest token: one channel outweighs all others,
    and it speaks for the end."""
    writer.get_input_embeddings().weight[:, 0] = 1000.0
    writer.lm_head.weight.zero_()
    writer.lm_head.weight[end, 0] = 10.0
