"""Stand-ins for files that a config names and this machine lacks: speed does not depend on their content."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from refkit.backbones.sentencepiece_tokenizer import SentencePieceTokenizer
from refkit.backbones.state import locate

BEIT3_PIECES = 64000  # of the released beit3.spm
_UNKNOWN, _CONTROL, _NORMAL = 2, 3, 1  # kinds of pieces


def without_files(part: Any, folder: Path) -> Any:
    """A part of a config, changed in place so that it needs no files.

    Weights are random: published ones would be downloaded. A SentencePiece vocabulary that is not here is
    taken to be BEiT-3's, and another of its size is written.

    Args:
        part: nested mappings and lists.
        folder: for the vocabulary.
    """
    for mapping in mappings(part):
        if isinstance(mapping.get("weights"), str):
            mapping["weights"] = None
        if builds(mapping, SentencePieceTokenizer) and not locate(mapping["model"]).is_file():
            mapping["model"] = str(_vocabulary(folder))
    return part


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


def _vocabulary(folder: Path) -> Path:
    """A SentencePiece file with as many pieces as BEiT-3's: words fall apart into letters."""
    file = folder / "stand_in.spm"
    if file.is_file():
        return file
    model: Any = import_module("sentencepiece.sentencepiece_model_pb2").ModelProto()
    special = {"<unk>": _UNKNOWN, "<s>": _CONTROL, "</s>": _CONTROL}
    letters = ["▁", *ascii_lowercase, *(f"▁{letter}" for letter in ascii_lowercase)]
    for piece in (*special, *letters):
        model.pieces.add(piece=piece, score=-1.0, type=special.get(piece, _NORMAL))
    for number in range(BEIT3_PIECES - len(model.pieces)):
        model.pieces.add(piece=f"▁{number}", score=-9.0)
    folder.mkdir(parents=True, exist_ok=True)
    file.write_bytes(model.SerializeToString())
    return file
