"""A whole DynRefer of a few thousand weights, saved as one file, that `refkit describe` and `predict` take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny_models as tiny

from refkit.data.preprocessor import ReferringPreprocessor
from refkit.inference.export import self_contained
from refkit.inference.model_config import ModelConfig
from refkit.zoo.weights import save_weights


def save_tiny_describer(folder: Path, *first: dict[str, Any], **shown: Any) -> Path:
    """The file; ``first`` are transforms before its views, ``shown`` settings of these."""
    config = tiny.dynrefer_config(folder, data_preprocessor={"type": ReferringPreprocessor})
    words = {"type": "WordTokenizer", "vocabulary": str(folder / "words.json"), "context_length": 12}
    config["text_encoder"]["tokenizer"] = words
    config["heads"]["caption"]["tokenizer"] = {"type": "T5Tokenizer", "model": str(folder / "words.spm")}
    model = tiny.build(config)
    views = {"type": "RegionViews", "views": 2, "side": 32, "selection": [0.0, 0.5], **shown}
    stored = self_contained(
        ModelConfig.checked({"model": config, "pipeline": [*first, views]}, "here"), model
    )
    plain = {"model": stored.model, "pipeline": stored.pipeline}
    return save_weights(model, folder / "regions.safetensors", plain)
