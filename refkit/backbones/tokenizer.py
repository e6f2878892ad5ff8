"""Words to token ids: OpenAI CLIP's byte-pair vocabulary, or a closed list of words for small models.

Both follow CLIP's convention: ``[start, words..., end, 0, 0, ...]``, where ``end`` is the largest id of the
vocabulary, so that the end-of-text position is the argmax of the ids.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from refkit.registry import MODELS

if TYPE_CHECKING:
    from tokenizers import Tokenizer as WordLevelTokenizer

_LOG = logging.getLogger(__name__)


class TokenizerError(ValueError):
    """A text or a vocabulary file that cannot be tokenised with, and what to do about it."""


class Tokenizer(ABC):
    """Frames encoded texts with start and end, cuts the over-long ones and counts how many it cut.

    Attributes:
        context_length: positions per text, start and end included.
        vocab_size: number of ids; ``start_id`` and ``eot_id`` are the last two.
        pad_id: id of padding.
        cut: how many texts have been cut so far.
    """

    pad_id = 0

    def __init__(self, context_length: int, vocab_size: int) -> None:
        if context_length < 3:
            raise TokenizerError(
                f"context_length is {context_length}; start, one word and end need at least 3"
            )
        self.context_length = context_length
        self.vocab_size = vocab_size
        self.start_id = vocab_size - 2
        self.eot_id = vocab_size - 1
        self.cut = 0

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of the words of each text, without start, end or padding."""

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Token ids ``(B, context_length)`` int64 of ``B`` texts.

        Raises:
            TokenizerError: a text without a single word.
        """
        rows = self.encode(list(texts))
        ids = torch.full((len(rows), self.context_length), self.pad_id, dtype=torch.int64)
        room = self.context_length - 2
        for row, (text, words) in enumerate(zip(texts, rows, strict=True)):
            if not words:
                raise TokenizerError(
                    f"text {row} of the batch is empty ({text!r}); a referring expression needs words"
                )
            framed = [self.start_id, *words[:room], self.eot_id]
            ids[row, : len(framed)] = torch.tensor(framed)
        self._count_cut(sum(len(words) > room for words in rows))
        return ids

    def _count_cut(self, new: int) -> None:
        before, self.cut = self.cut, self.cut + new
        # Said at the 1st, 2nd, 4th, 8th, ... text: a long run must not drown in it.
        if new and self.cut.bit_length() > before.bit_length():
            _LOG.warning(
                "%d text(s) longer than %d tokens have been cut so far", self.cut, self.context_length
            )


def trim_to_longest(token_ids: Tensor, pad_id: int = 0) -> Tensor:
    """Drop the columns of ``(B, T)`` that are padding in every text of the batch.

    Exact for a causal text tower (padding stands after the end token, where nothing looks) and for an
    encoder that masks padded keys. Call it before the ids move to an accelerator: it reads their values.
    """
    used = (token_ids != pad_id).any(dim=0).nonzero()
    return token_ids[:, : int(used[-1]) + 1] if len(used) else token_ids


@MODELS.register_module()
class CLIPTokenizer(Tokenizer):
    """OpenAI CLIP's byte-pair encoding (49,408 ids) through open_clip, with the same ids as the original."""

    def __init__(self, context_length: int = 77) -> None:
        from open_clip.tokenizer import SimpleTokenizer

        self._bpe = SimpleTokenizer(context_length=context_length)
        super().__init__(context_length, self._bpe.vocab_size)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Byte-pair ids of each text (fixed unicode, HTML unescaped, white space collapsed, lower-cased)."""
        return [self._bpe.encode(text) for text in texts]


@MODELS.register_module()
class WordTokenizer(Tokenizer):
    """One id per word of a closed vocabulary: pad 0, unknown 1, the words, start, end.

    Texts are lower-cased and split at white space and punctuation. Words that the vocabulary lacks become
    ``[unk]``, are counted in `unknown` and named once in a warning.

    Args:
        vocabulary: WordLevel JSON file of the ``tokenizers`` library, as `train` writes it, or the list of
            its entries in the order of their ids (`words`), as a weights file carries it.
        context_length: positions per text, start and end included.
    """

    specials = ("[pad]", "[unk]", "[start]", "[end]")

    def __init__(self, vocabulary: str | Path | Sequence[str], context_length: int = 32) -> None:
        if isinstance(vocabulary, str | Path):
            self._words = _read_vocabulary(Path(vocabulary))
        else:
            self._words = _word_level({word: index for index, word in enumerate(vocabulary)})
        super().__init__(context_length, self._words.get_vocab_size())
        self.unk_id = 1
        self.unknown: Counter[str] = Counter()
        ids = [self._words.token_to_id(token) for token in self.specials]
        if ids != [self.pad_id, self.unk_id, self.start_id, self.eot_id]:
            raise TokenizerError(
                f"{vocabulary}: ids of {', '.join(self.specials)} are {ids}, expected first, second, "
                "last but one and last; write the file with WordTokenizer.train"
            )

    @property
    def words(self) -> list[str]:
        """All entries of the vocabulary in the order of their ids."""
        vocabulary = self._words.get_vocab()
        return sorted(vocabulary, key=lambda word: vocabulary[word])

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Word ids of each text."""
        encodings = self._words.encode_batch(list(texts), add_special_tokens=False)
        new: list[str] = []
        for text, encoding in zip(texts, encodings, strict=True):
            for token, (begin, end) in zip(encoding.ids, encoding.offsets, strict=True):
                if token == self.unk_id:
                    word = text[begin:end].lower()
                    new += [] if word in self.unknown else [word]
                    self.unknown[word] += 1
        if new:
            _LOG.warning("words outside the vocabulary are read as [unk]: %s", ", ".join(map(repr, new[:10])))
        return [encoding.ids for encoding in encodings]

    @classmethod
    def train(cls, texts: Iterable[str], path: str | Path, context_length: int = 32) -> WordTokenizer:
        """Collect the words of ``texts``, write the vocabulary to ``path`` and return its tokenizer."""
        from refkit.data.files import atomic_write

        blank = _word_level({"[pad]": 0, "[unk]": 1})
        words: set[str] = set()
        for text in texts:
            pieces = blank.pre_tokenizer.pre_tokenize_str(blank.normalizer.normalize_str(text))
            words.update(word for word, _ in pieces)
        if not words:
            raise TokenizerError("no words to build a vocabulary from")
        tokens = ["[pad]", "[unk]", *sorted(words), "[start]", "[end]"]
        tokenizer = _word_level({token: index for index, token in enumerate(tokens)})
        atomic_write(path, tokenizer.to_str(pretty=True))
        return cls(path, context_length)


def _word_level(vocabulary: dict[str, int]) -> WordLevelTokenizer:
    from tokenizers import Tokenizer as WordLevelTokenizer
    from tokenizers import models, normalizers, pre_tokenizers

    tokenizer = WordLevelTokenizer(models.WordLevel(vocabulary, unk_token="[unk]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")]
    )
    return tokenizer


def _read_vocabulary(path: Path) -> WordLevelTokenizer:
    from tokenizers import Tokenizer as WordLevelTokenizer

    if not path.is_file():
        raise TokenizerError(f"no vocabulary file at {path}; write one with WordTokenizer.train(texts, path)")
    try:
        return WordLevelTokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the Rust side raises bare Exception
        raise TokenizerError(f"{path}: not a tokenizers JSON file ({error})") from error
