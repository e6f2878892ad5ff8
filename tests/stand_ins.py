"""Small things in place of released files that are not here, so that configs of full-size models run."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import tiny_models as tiny

from refkit.backbones import (
    VQKD,
    BEiT3Backbone,
    CLIPTextEncoder,
    CLIPTower,
    EVATower,
    PretrainedTokenizer,
    RegionEncoder,
    T5Tokenizer,
)
from refkit.backbones.state import locate
from refkit.heads import CausalWriter, RegionContrastHead, T5Writer, TagHead
from refkit.inference.benchmark.absent import builds, mappings
from refkit.inference.benchmark.absent import without_files as without_files_in

_SMALL = {"width": 32, "layers": 1, "heads": 2}
_T5 = {"vocab_size": 96, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}
_LLAMA = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


@cache
def _folder() -> Path:
    """For a vocabulary that all tests of a process share."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def without_files(config: Any) -> Any:
    """The config, changed: models start from random weights, BEiT-3 reads a vocabulary of the released size."""
    config.load_from = None
    for part in mappings(config):
        _without_words(part)
    return without_files_in(config, _folder())


def _without_words(part: Any) -> None:
    """Models of regions name lists and vocabularies, and a folder for tables."""
    if builds(part, T5Tokenizer) and not locate(part["model"]).is_file():
        part["model"] = str(_t5_words())
    elif builds(part, PretrainedTokenizer):
        part["name"] = str(_llama_words())
    elif builds(part, CLIPTextEncoder):
        part["cache"] = None
    elif builds(part, TagHead) or builds(part, RegionContrastHead):
        lists = (name for name in ("tags", "attributes", "categories") if isinstance(part.get(name), str))
        part.update({name: ["red", "dog", "circle"] for name in lists})


@cache
def _t5_words() -> Path:
    return Path(tiny.t5_tokenizer(_folder()).model)


@cache
def _llama_words() -> Path:
    return tiny.llama_tokenizer(_folder())


def shrunk(config: Any) -> Any:
    """The config, changed: towers and language models have one narrow block, and still the released words,
    codes, grids and views."""
    for part in mappings(config):
        if builds(part, BEiT3Backbone):
            part["size"] = {**_SMALL, "image_size": part["image_size"]}
        elif builds(part, VQKD):
            part["size"] = {**_SMALL, "code_width": 8}
        else:
            _shrink_regions(part)
    return config


def _shrink_regions(part: Any) -> None:
    if builds(part, EVATower):
        part.update(**_SMALL, feedforward=48)
    elif builds(part, CLIPTower):
        part.update(size=_clip(text=32, embed=32), layers=1)
    elif builds(part, CLIPTextEncoder):
        width = 1024 if part["projection"] else 768
        part.update(size=_clip(text=32 if part["projection"] else width, embed=width))
    elif builds(part, RegionEncoder):
        part.update(qformer={**_SMALL, "feedforward": 48, "queries": 4}, tower_precision="float32")
    elif builds(part, T5Writer) or builds(part, CausalWriter):
        part.update(size=_T5 if builds(part, T5Writer) else _LLAMA)


def _clip(text: int, embed: int) -> dict[str, Any]:
    sides = {"embed": embed, "image_size": 224, "patch_size": 14}
    return {**sides, "vision": dict(_SMALL), "text": {**_SMALL, "width": text}}
