"""Stand-ins for files that a config names and this machine lacks: speed does not depend on their content."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from refkit.backbones.caption_tokenizer import T5Tokenizer
from refkit.backbones.sentencepiece_tokenizer import SentencePieceTokenizer
from refkit.backbones.state import locate
from refkit.backbones.text_encoder import CLIPTextEncoder
from refkit.heads.recognition import RegionContrastHead, TagHead

BEIT3_PIECES = 64000  # of the released beit3.spm
T5_PIECES = 32000  # of T5's spiece.model, without the hundred that transformers adds
TAGS, ATTRIBUTES, ATTRIBUTE_PROMPTS, CATEGORIES = 4585, 117, 474, 80
"""Names in RAM's list; OVAD's attributes with their prompts; COCO's classes."""
_UNKNOWN, _CONTROL, _NORMAL = 2, 3, 1  # kinds of pieces
_BEIT3_SPECIAL = {"<unk>": _UNKNOWN, "<s>": _CONTROL, "</s>": _CONTROL}
_T5_SPECIAL = {"<pad>": _CONTROL, "</s>": _CONTROL, "<unk>": _UNKNOWN}


def without_files(part: Any, folder: Path) -> Any:
    """A part of a config, changed in place so that it needs no files.

    Weights are random: published ones would be downloaded. A vocabulary that is not here is taken to be
    BEiT-3's or T5's, and another of its size is written; lists of names become others of the published
    length. Tables of text embeddings go to the folder.

    Args:
        part: nested mappings and lists.
        folder: for vocabularies and tables.
    """
    for mapping in mappings(part):
        if isinstance(mapping.get("weights"), str):
            mapping["weights"] = None
        if builds(mapping, SentencePieceTokenizer) and not locate(mapping["model"]).is_file():
            mapping["model"] = str(_vocabulary(folder / "beit3.spm", _BEIT3_SPECIAL, BEIT3_PIECES))
        elif builds(mapping, T5Tokenizer) and not locate(mapping["model"]).is_file():
            mapping["model"] = str(_vocabulary(folder / "t5.spm", _T5_SPECIAL, T5_PIECES))
        elif builds(mapping, CLIPTextEncoder) and mapping.get("cache"):
            mapping["cache"] = str(folder / "tables")
        elif builds(mapping, TagHead) or builds(mapping, RegionContrastHead):
            _name(mapping)
    return part


def _name(head: Any) -> None:
    """Names in place of lists that are not here."""
    for task, names in _published_names().items():
        if isinstance(head.get(task), str) and not Path(head[task]).is_file():
            head[task] = names


def _published_names() -> dict[str, Any]:
    prompts: dict[str, list[str]] = {f"attribute {number}": [] for number in range(ATTRIBUTES)}
    for number in range(ATTRIBUTE_PROMPTS):
        prompts[f"attribute {number % ATTRIBUTES}"].append(f"the prompt {number}")
    return {
        "tags": [f"tag {number}" for number in range(TAGS)],
        "attributes": prompts,
        "categories": [f"class {number}" for number in range(CATEGORIES)],
    }


def mappings(part: Any) -> Iterator[Any]:
    """Every mapping in a part of a config, itself included."""
    if isinstance(part, dict):
        yield part
    for value in list(part.values()) if hasattr(part, "values") else part:
        if isinstance(value, (dict, list, tuple)):
            yield from mappings(value)


def builds(mapping: Any, kind: type) -> bool:
    """Whether a mapping is the config of this class; printed configs have its dotted name."""
    given = mapping.get("type")
    return given is kind or (isinstance(given, str) and given.rpartition(".")[2] == kind.__name__)


def _vocabulary(file: Path, special: dict[str, int], size: int) -> Path:
    """A SentencePiece file of a size: words fall apart into letters."""
    if file.is_file():
        return file
    model: Any = import_module("sentencepiece.sentencepiece_model_pb2").ModelProto()
    letters = ["▁", *ascii_lowercase, *(f"▁{letter}" for letter in ascii_lowercase)]
    for piece in (*special, *letters):
        model.pieces.add(piece=piece, score=-1.0, type=special.get(piece, _NORMAL))
    for number in range(size - len(model.pieces)):
        model.pieces.add(piece=f"▁{number}", score=-9.0)
    _number_special(model.trainer_spec, list(special))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(model.SerializeToString())
    return file


def _number_special(spec: Any, names: list[str]) -> None:
    """SentencePiece knows padding, end and unknown by their numbers."""
    spec.unk_id, spec.eos_id = names.index("<unk>"), names.index("</s>")
    spec.bos_id = names.index("<s>") if "<s>" in names else -1
    spec.pad_id = names.index("<pad>") if "<pad>" in names else -1
