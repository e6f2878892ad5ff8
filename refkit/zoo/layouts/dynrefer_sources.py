"""The files that a released DynRefer is assembled with: vision tower, BLIP-2, FlanT5, text tower, names.

Everything in them that the model does not use is known by name and left out; what is neither used nor known
is an error, for then a file is not what it is said to be.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import Tensor

from refkit.backbones.clip_sizes import clip_size
from refkit.backbones.clip_weights import from_open_clip_names
from refkit.backbones.state import StateDict, WeightError, read_state_dict
from refkit.data.prompts import category_prompt, ovad_prompts

_EVA_TEXT = {
    "embed": 1024,
    "image_size": 224,
    "patch_size": 14,
    "vision": {"width": 1408, "layers": 40, "heads": 16, "feedforward": 6144},
    "text": {"width": 768, "layers": 12, "heads": 12, "feedforward": 3072},
    "activation": "gelu",
}
_VIT_L = asdict(clip_size("ViT-L-14"))


@dataclass(frozen=True, slots=True)
class Tower:
    """One of the two released vision towers and the text tower that was used with it.

    Attributes:
        name: for messages.
        width: channels of the vision tower.
        layers: blocks that are kept.
        blocks: how the names of its blocks begin in its file.
        text_width: channels of a text embedding.
        config, text_config: of the two towers.
    """

    name: str
    width: int
    layers: int
    blocks: str
    text_width: int
    config: dict[str, Any] = field(default_factory=dict)
    text_config: dict[str, Any] = field(default_factory=dict)


TOWERS = (
    Tower(
        "EVA ViT-g",
        width=1408,
        layers=39,
        blocks="blocks.",
        text_width=1024,
        config={"type": "EVATower"},
        text_config={"type": "CLIPTextEncoder", "size": _EVA_TEXT},
    ),
    Tower(
        "ViT-L",
        width=1024,
        layers=21,
        blocks="transformer.resblocks.",
        text_width=768,
        config={"type": "CLIPTower", "size": _VIT_L, "layers": 21},
        text_config={"type": "CLIPTextEncoder", "size": _VIT_L, "projection": False},
    ),
)
SOURCES = {
    "vision": {"EVA ViT-g": "eva_vit_g.pth", "ViT-L": "clip_vit_L.pth"},
    "blip2": {"EVA ViT-g": "blip2_pretrained_flant5xl.pth", "ViT-L": "blip2_pretrained_flant5xl_vitL.pth"},
    "language_model": {"EVA ViT-g": "google/flan-t5-xl", "ViT-L": "google/flan-t5-xl"},
    "text": {"EVA ViT-g": "eva_clip_psz14.pt", "ViT-L": "openai/clip-vit-large-patch14"},
    "tags": {"EVA ViT-g": "ram_tag_list.txt", "ViT-L": "ram_tag_list.txt"},
}
"""What each option of the layout expects, by the name of the vision tower."""

_NOT_VISION = ("norm.*", "fc_norm.*", "head.*", "mask_token", "ln_post.*", "proj", "*.rope.*")
_TIED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")


def read_source(
    name: str, source: str | Path | Mapping[str, Tensor], tower: Tower
) -> tuple[tuple[str, ...], StateDict]:
    """Tensors of a source that the model uses, by refkit's names.

    Args:
        name: key of `SOURCES`.
        source: file, folder of a transformers model, or tensors by name.
        tower: which of the released models.

    Returns:
        How the names of this part of the model begin, and the tensors.

    Raises:
        WeightError: unreadable, or with tensors that such a file does not have.
    """
    state = source if isinstance(source, Mapping) else _read(Path(source))
    prefixes, convert = _READERS[name]
    return prefixes, convert(dict(state), tower)


def read_vocabularies(tags: str, ovad: str | Path | None) -> dict[str, Any]:
    """Names for the heads: ``tags``, and from an OVAD file ``attributes`` and ``categories`` with prompts.

    Raises:
        WeightError: an unreadable file, or none of its kind.
    """
    try:
        lines = [line.strip() for line in Path(tags).read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise WeightError(f"{tags}: no readable list of tags ({error})") from error
    found: dict[str, Any] = {"tags": [line for line in lines if line]}
    if ovad is not None:
        found |= _ovad_names(Path(ovad))
    return found


def _ovad_names(path: Path) -> dict[str, Any]:
    try:
        packed = path.read_bytes()
        content = json.loads(gzip.decompress(packed) if path.suffix == ".gz" else packed)
        ranked = sorted(content["categories"], key=lambda entry: entry["id"])
        categories = {entry["name"]: [category_prompt(entry["name"])] for entry in ranked}
        return {"attributes": ovad_prompts(content["attributes"]), "categories": categories}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightError(f"{path}: no OVAD annotations ({error!r})") from error


def _read(path: Path) -> StateDict:
    if not path.is_dir():
        return read_state_dict(path)
    files = sorted(path.glob("*.safetensors")) or sorted(path.glob("pytorch_model*.bin"))
    if not files:
        raise WeightError(f"{path}: no *.safetensors and no pytorch_model*.bin in this folder")
    return {name: value for file in files for name, value in read_state_dict(file).items()}


def _vision(state: StateDict, tower: Tower) -> StateDict:
    named = {name.removeprefix("visual_encoder.").removeprefix("visual."): v for name, v in state.items()}
    kept = {name: v for name, v in named.items() if not _dropped(name, tower)}
    if tower.blocks == "blocks.":
        return {f"backbone.tower.eva.{name}": value for name, value in kept.items()}
    converted = from_open_clip_names({f"visual.{name}": v for name, v in kept.items()}, tower.name)
    return {name.replace("vision_model.", "backbone.tower.clip.", 1): v for name, v in converted.items()}


def _dropped(name: str, tower: Tower) -> bool:
    if any(fnmatchcase(name, pattern) for pattern in _NOT_VISION):
        return True
    if not name.startswith(tower.blocks):
        return False
    return int(name.removeprefix(tower.blocks).split(".")[0]) >= tower.layers


def _blip2(state: StateDict, tower: Tower) -> StateDict:
    """Queries and the tower's norm; all else in such a file was trained on, or is another source."""
    kept = {"backbone.qformer.query_tokens": "query_tokens"}
    kept |= {f"backbone.norm.{kind}": f"ln_vision.{kind}" for kind in ("weight", "bias")}
    return {ours: state[name] for ours, name in kept.items() if name in state}


def _language_model(state: StateDict, tower: Tower) -> StateDict:
    named = {name.removeprefix("t5_model."): value for name, value in state.items()}
    return {
        f"heads.caption.language_model.model.{name}": value
        for name, value in named.items()
        if name not in _TIED
    }


def _text(state: StateDict, tower: Tower) -> StateDict:
    if any(name.startswith("text_model.") for name in state):
        kept = {name: v for name, v in state.items() if name.startswith("text_model.")}
        kept = {name: v for name, v in kept.items() if not name.endswith("position_ids")}
    else:
        inside = any(name.startswith("text.") for name in state)
        words = {name: v for name, v in state.items() if name.startswith("text.") or not inside}
        kept = from_open_clip_names(words, "text tower")
        kept.pop("logit_scale", None)
    return {f"text_encoder.{name}": value for name, value in kept.items()}


_READERS: dict[str, tuple[tuple[str, ...], Callable[[StateDict, Tower], StateDict]]] = {
    "vision": (("backbone.tower.",), _vision),
    "blip2": (("backbone.norm.", "backbone.qformer.query_tokens"), _blip2),
    "language_model": (("heads.caption.language_model.",), _language_model),
    "text": (("text_encoder.",), _text),
}
