"""Small things in place of released files that are not here, so that configs of full-size models run."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from sentencepiece import sentencepiece_model_pb2 as proto

from refkit.backbones import VQKD, BEiT3Backbone, SentencePieceTokenizer

_PIECES = 64000  # of the released beit3.spm
_SMALL = {"width": 32, "layers": 1, "heads": 2}


@cache
def vocabulary() -> Path:
    """A SentencePiece file with as many pieces as the released ``beit3.spm``, letters among them."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    model = proto.ModelProto()
    special = {"<unk>": 2, "<s>": 3, "</s>": 3}
    letters = ["▁", *ascii_lowercase, *(f"▁{letter}" for letter in ascii_lowercase)]
    for piece in (*special, *letters):
        model.pieces.add(piece=piece, score=-1.0, type=special.get(piece, 1))
    for number in range(_PIECES - len(model.pieces)):
        model.pieces.add(piece=f"▁{number}", score=-9.0)
    file = folder / "beit3.spm"
    file.write_bytes(model.SerializeToString())
    return file


def without_files(config: Any) -> Any:
    """The config, changed: models start from random weights, BEiT-3 reads the stand-in vocabulary."""
    config.load_from = None
    for part in _parts(config):
        if "weights" in part:
            part["weights"] = None
        if _is(part, SentencePieceTokenizer) and Path(part["model"]).name == "beit3.spm":
            part["model"] = str(vocabulary())
    return config


def shrunk(config: Any) -> Any:
    """The config, changed: every BEiT-3 and VQ-KD has one narrow block, and still the released words, codes
    and grids."""
    for part in _parts(config):
        if _is(part, BEiT3Backbone):
            part["size"] = {**_SMALL, "image_size": part["image_size"]}
        elif _is(part, VQKD):
            part["size"] = {**_SMALL, "code_width": 8}
    return config


def _parts(config: Any) -> Iterator[Any]:
    """Every mapping in a config, itself included."""
    if isinstance(config, dict):
        yield config
    for value in list(config.values()) if hasattr(config, "values") else config:
        if isinstance(value, (dict, list, tuple)):
            yield from _parts(value)


def _is(part: Any, kind: type) -> bool:
    """Whether a part of a config builds this class; loading turns classes into dotted names."""
    given = part.get("type")
    return given is kind or (isinstance(given, str) and given.rpartition(".")[2] == kind.__name__)
