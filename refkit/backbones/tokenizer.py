"""Words to token ids: OpenAI CLIP's byte-pair vocabulary, or a closed list of words for small models.

Both follow CLIP's convention: ``[start, words..., end, 0, 0, ...]``, where ``end`` is the largest id of the
vocabulary, so that the end-of-text position is the argmax of the ids. BEiT-3's convention is in
`refkit.backbones.sentencepiece_tokenizer`.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from refkit.registry import MODELS

if TYPE_CHECKING:
    from tokenizers import Tokenizer as WordLevelTokenizer

_LOG = logging.getLogger(__name__)
_QUOTED = 80
_START, _END = "[start]", "[end]"


class TokenizerError(ValueError):
    """A text or a vocabulary file that cannot be tokenised with, and what to do about it."""


class CountsCuts:
    """Counts the texts that were longer than a model takes.

    Attributes:
        context_length: positions per text, start and end included.
        cut_texts: the different texts that have been cut so far.
    """

    def __init__(self, context_length: int) -> None:
        self.context_length = context_length
        self.cut_texts: set[str] = set()

    def note_cut(self, texts: Sequence[str]) -> None:
        """Speak of the first cut at once; `cut_summary` has the number at the end of a run."""
        if texts and not self.cut_texts:
            _LOG.warning(
                "%r is longer than the %d tokens that the model takes and was cut; more such texts are only "
                "counted",
                _shortened(texts[0]),
                self.context_length,
            )
        self.cut_texts.update(texts)


class Tokenizer(CountsCuts, ABC):
    """Frames encoded texts with start and end, cuts the over-long ones and counts how many it cut.

    Attributes:
        vocab_size: number of ids.
        pad_id: id of padding.
        start_id: id before the words, by default the last but one.
        eot_id: id after the words, by default the last.
    """

    pad_id = 0

    def __init__(
        self, context_length: int, vocab_size: int, start_id: int | None = None, eot_id: int | None = None
    ) -> None:
        if context_length < 3:
            raise TokenizerError(
                f"context_length is {context_length}; start, one word and end need at least 3"
            )
        super().__init__(context_length)
        self.vocab_size = vocab_size
        self.start_id = vocab_size - 2 if start_id is None else start_id
        self.eot_id = vocab_size - 1 if eot_id is None else eot_id

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of the words of each text, without start, end or padding."""

    @abstractmethod
    def spell(self, ids: Sequence[int]) -> list[tuple[str, int]]:
        """Each word of one encoded text with the number of its ids, in order.

        ``[start]`` and ``[end]`` count as words, padding does not.
        """

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
        self.note_cut([text for text, words in zip(texts, rows, strict=True) if len(words) > room])
        return ids


def tokenizers_of(model: nn.Module) -> list[CountsCuts]:
    """The tokenizers that a model and its parts use, each once."""
    found = (getattr(module, "tokenizer", None) for module in model.modules())
    return list({id(item): item for item in found if isinstance(item, CountsCuts)}.values())


def cut_summary(texts: Collection[str], context_length: int) -> str | None:
    """One sentence on the texts that were cut in a run; None where there were none."""
    if not texts:
        return None
    many = "1 text was" if len(texts) == 1 else f"{len(texts):,} different texts were"
    return (
        f"{many} longer than the {context_length} tokens that the model takes (start and end included); the "
        "words beyond were not read"
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}…"


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

    def spell(self, ids: Sequence[int]) -> list[tuple[str, int]]:
        """Byte pairs joined to words."""
        words: list[tuple[str, int]] = []
        held: list[int] = []
        for token in (token for token in ids if token != self.pad_id):
            frame = {self.start_id: _START, self.eot_id: _END}.get(token)
            if held and frame:  # a text that was cut inside a word
                words.append((self._bpe.decode(held).strip(), len(held)))
                held = []
            if frame:
                words.append((frame, 1))
                continue
            held.append(token)
            if self._bpe.decoder[token].endswith("</w>"):
                words.append((self._bpe.decode(held).strip(), len(held)))
                held = []
        return words


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

    specials = ("[pad]", "[unk]", _START, _END)

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

    @property
    def mask_id(self) -> int:
        """A hidden word is an unknown one."""
        return self.unk_id

    @property
    def replacements(self) -> range:
        """Ids that may stand in for a hidden word: those of the words."""
        return range(self.unk_id + 1, self.start_id)

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

    def spell(self, ids: Sequence[int]) -> list[tuple[str, int]]:
        """One word per id."""
        return [(str(self._words.id_to_token(token)), 1) for token in ids if token != self.pad_id]

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
