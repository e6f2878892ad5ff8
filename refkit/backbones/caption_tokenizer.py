"""Captions and control words to ids and back, as the language models that write them expect."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refkit.backbones.sentencepiece_tokenizer import sentencepiece_content, sentencepiece_processor
from refkit.backbones.tokenizer import CountsCuts, TokenizerError
from refkit.registry import MODELS

_WHERE = "FlanT5's is called spiece.model and is published beside its weights"


class CaptionTokenizer(CountsCuts, ABC):
    """Ids with a beginning and an end where asked for, padded behind to the longest of the batch.

    Attributes:
        context_length: the last limit that a text was longer than.
        pad_id: padding.
        eos_id: end of text.
        bos_id: beginning of text, or None where the vocabulary has none.
    """

    pad_id: int
    eos_id: int
    bos_id: int | None

    def __init__(self) -> None:
        super().__init__(0)

    @abstractmethod
    def ids(self, text: str) -> list[int]:
        """Ids of the pieces of a text, without beginning and end."""

    @abstractmethod
    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Texts of rows of ids, up to the first end of text; special ids are left out."""

    def encode(
        self, texts: Sequence[str], limit: int, *, begin: bool, end: bool, keep: str = "start"
    ) -> tuple[Tensor, Tensor]:
        """Ids ``(B, T)`` and mask ``(B, T)`` int64, 1 = a token; ``T <= limit``.

        Args:
            texts: ``B`` texts.
            limit: tokens of a text at most, beginning and end included; longer texts are cut and counted.
            begin, end: with the ids for beginning and end of text.
            keep: which part of a longer text stays, its ``start`` or its ``end``.
        """
        head = [self.bos_id] if begin and self.bos_id is not None else []
        tail = [self.eos_id] if end else []
        room = limit - len(head) - len(tail)
        pieces = [self.ids(text) for text in texts]
        if cut := [text for text, row in zip(texts, pieces, strict=True) if len(row) > room]:
            self.context_length = limit
            self.note_cut(cut)
        begun = [max(0, len(row) - room) if keep == "end" else 0 for row in pieces]
        kept = [row[first : first + room] for row, first in zip(pieces, begun, strict=True)]
        rows = [[*head, *row, *tail] for row in kept]
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self.pad_id, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row, dtype=torch.int64)
            mask[index, : len(row)] = 1
        return ids, mask

    def _before_end(self, row: Sequence[int]) -> list[int]:
        start = 1 if row and row[0] in (self.pad_id, self.bos_id) else 0
        stop = row.index(self.eos_id, start) if self.eos_id in row[start:] else len(row)
        return [token for token in row[start:stop] if token not in (self.pad_id, self.bos_id)]


@MODELS.register_module()
class T5Tokenizer(CaptionTokenizer):
    """T5's convention: the numbers of a SentencePiece file, padding 0, end 1, unknown 2, no beginning.

    Args:
        model: SentencePiece file, like ``spiece.model`` of FlanT5. With ``content`` a mere name for messages.
        content: what is in the file, as base64: a weights file carries its vocabulary this way.

    Attributes:
        content: the vocabulary as base64, whichever way it was given.

    Raises:
        TokenizerError: there is no such file, or it is no SentencePiece vocabulary of this convention.
    """

    pad_id, eos_id, bos_id = 0, 1, None

    def __init__(self, model: str | Path, content: str | None = None) -> None:
        super().__init__()
        self.model = str(model)
        packed = sentencepiece_content(model, content, _WHERE)
        self.content = base64.b64encode(packed).decode("ascii")
        self._pieces = sentencepiece_processor(packed, self.model)
        special = [self._pieces.pad_id(), self._pieces.eos_id(), self._pieces.unk_id()]
        if special != [0, 1, 2]:
            raise TokenizerError(
                f"{model}: padding, end and unknown are {special}; a vocabulary of T5 has 0, 1, 2 (train "
                "it with pad_id=0, eos_id=1, unk_id=2, bos_id=-1)"
            )
        self.vocab_size = self._pieces.get_piece_size()

    def ids(self, text: str) -> list[int]:
        """Pieces of a text."""
        pieces: list[int] = self._pieces.encode(text)
        return pieces

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Texts; ids beyond the vocabulary (T5's table is longer than its vocabulary) are left out."""
        kept = [[token for token in self._before_end(row) if token < self.vocab_size] for row in rows]
        return [self._pieces.decode(row) for row in kept]


@MODELS.register_module()
class PretrainedTokenizer(CaptionTokenizer):
    """The tokenizer of any language model of transformers.

    Args:
        name: folder with the tokenizer's files, or transformers' name of it.
    """

    def __init__(self, name: str | Path) -> None:
        from transformers import AutoTokenizer

        super().__init__()
        try:
            self._words: Any = AutoTokenizer.from_pretrained(str(name))
        except (OSError, ValueError) as error:
            raise TokenizerError(f"{name}: no tokenizer of transformers ({error})") from error
        if self._words.eos_token_id is None:
            raise TokenizerError(f"{name}: this tokenizer has no end of text, which captions need")
        self.eos_id, self.bos_id = self._words.eos_token_id, self._words.bos_token_id
        pad = self._words.pad_token_id
        self.pad_id = self.eos_id if pad is None else pad
        self.vocab_size = len(self._words)

    def ids(self, text: str) -> list[int]:
        """Pieces of a text."""
        pieces: list[int] = self._words.encode(text, add_special_tokens=False)
        return pieces

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Texts without special tokens."""
        return [self._words.decode(self._before_end(row), skip_special_tokens=True) for row in rows]
