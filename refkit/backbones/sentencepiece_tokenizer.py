"""Words to token ids with a SentencePiece vocabulary, numbered as XLM-R and BEiT-3 number it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from refkit.backbones.state import locate
from refkit.backbones.tokenizer import Tokenizer, TokenizerError
from refkit.registry import MODELS

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

_WORD_START = "▁"
_SPARE_ROWS = 8
_WHERE = (
    "BEiT-3's is called beit3.spm and is published beside its weights, the small models' is "
    "model_zoo/refshapes/refshapes.spm"
)


@MODELS.register_module()
class SentencePieceTokenizer(Tokenizer):
    """BEiT-3's convention: ``[0, words..., 2, 1, 1, ...]``, begin 0, padding 1, end 2, unknown 3.

    The piece with number ``s`` of the vocabulary gets id ``s + 1``, unknown pieces (``s = 0``) get 3, and the
    id after the last piece stands for a masked word (64001 of the published ``beit3.spm`` with its 64000
    pieces). Texts are lower-cased. A special token that is spelled out in a text ("<mask>") is read as text.

    Args:
        model: SentencePiece file, like the published ``beit3.spm``. With ``content`` it is a mere name for
            messages.
        context_length: positions per text, begin and end included.
        content: what is in the file, as base64: a weights file carries its vocabulary this way.

    Attributes:
        content: the vocabulary as base64, whichever way it was given.
        unk_id: 3.
        mask_id: id of a masked word.

    Raises:
        TokenizerError: there is no such file, or it is no SentencePiece vocabulary of this convention.
    """

    pad_id = 1
    unk_id = 3

    def __init__(self, model: str | Path, context_length: int = 64, content: str | None = None) -> None:
        self.model = str(model)
        packed = sentencepiece_content(model, content, _WHERE)
        self._pieces = sentencepiece_processor(packed, self.model)
        _check_numbers(self._pieces, self.model)
        self.content = base64.b64encode(packed).decode("ascii")
        count = self._pieces.get_piece_size()
        self.mask_id = count + 1
        super().__init__(context_length, vocab_size=count + 2, start_id=0, eot_id=2)

    @property
    def replacements(self) -> range:
        """Ids that may stand in for a hidden word: all from unknown to mask, both included, as released."""
        return range(self.unk_id, self.mask_id + 1)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of the pieces of each text."""
        rows = self._pieces.encode([text.lower() for text in texts], num_threads=1)
        return [[piece + 1 if piece else self.unk_id for piece in row] for row in rows]

    def spell(self, ids: Sequence[int]) -> list[tuple[str, int]]:
        """Pieces joined to words; punctuation that hangs on a word stands alone."""
        words: list[tuple[str, int]] = []
        joins = False
        for piece in (self._piece(token) for token in ids if token != self.pad_id):
            special = piece.startswith("[") and len(piece) > 1
            text = piece.removeprefix(_WORD_START)
            if joins and text == piece and not special and any(map(str.isalnum, piece)):
                held, count = words.pop()
                words.append((held + text, count + 1))
            else:
                words.append((text, 1))
            joins = not special
        return words

    def check_rows(self, rows: int) -> None:
        """Whether a word table of ``rows`` rows belongs to the vocabulary (published: 64010 for 64002 ids).

        Raises:
            TokenizerError: it does not.
        """
        if not self.vocab_size <= rows <= self.vocab_size + _SPARE_ROWS:
            raise TokenizerError(
                f"{self.model}: this vocabulary has {self.vocab_size} ids, but the model's word table has "
                f"{rows} rows: the vocabulary is another model's. Take the .spm file that the weights were "
                "trained with"
            )

    def _piece(self, token: int) -> str:
        named = {self.start_id: "[start]", self.eot_id: "[end]", self.unk_id: "[unk]", self.mask_id: "[mask]"}
        if token in named:
            return named[token]
        return str(self._pieces.id_to_piece(token - 1)) if token < self.mask_id else "[spare]"


def sentencepiece_content(model: str | Path, content: str | None, where: str) -> bytes:
    """A vocabulary's bytes: those packed in ``content`` as base64, or else those of the file ``model``.

    Raises:
        TokenizerError: no base64, or no such file; ``where`` says where one is.
    """
    path = locate(model)
    try:
        return path.read_bytes() if content is None else base64.b64decode(content, validate=True)
    except OSError as error:
        raise TokenizerError(f"no SentencePiece vocabulary at {path} ({error.strerror}); {where}") from error
    except (binascii.Error, ValueError) as error:
        raise TokenizerError(f"{model}: 'content' is not base64 ({error})") from error


def sentencepiece_processor(packed: bytes, name: str) -> SentencePieceProcessor:
    """The vocabulary in these bytes; ``name`` is for messages.

    Raises:
        TokenizerError: there is none in them.
    """
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor()
    try:
        pieces.load_from_serialized_proto(packed)
        count = pieces.get_piece_size()
    except (RuntimeError, OSError, TypeError) as error:
        raise TokenizerError(f"{name}: not a SentencePiece file ({error})") from error
    if not count:
        raise TokenizerError(f"{name}: not a SentencePiece file (it has no pieces)")
    return pieces


def _check_numbers(pieces: SentencePieceProcessor, name: str) -> None:
    numbers = pieces.unk_id(), pieces.bos_id(), pieces.eos_id()
    if numbers != (0, 1, 2):
        raise TokenizerError(
            f"{name}: unknown, begin and end are pieces {numbers}, expected (0, 1, 2), the first three of "
            "SentencePiece's default"
        )
