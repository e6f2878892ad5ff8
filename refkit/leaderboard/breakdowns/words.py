"""Which word classes an expression falls into: place words, ordinals, colours, relations, …

Notation: ``t`` texts, ``w`` words of all texts together.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]

_BLANK = {ord(mark): " " for mark in string.punctuation + "“”„«»…–—·"} | {ord("'"): None, ord("’"): None}


def tokens(text: str) -> list[str]:
    """The words of a text: lower case, no apostrophes (``isn't`` → ``isnt``), other marks are blanks."""
    return text.lower().translate(_BLANK).split()


def word_counts(texts: Sequence[str]) -> NDArray[np.int64]:
    """``(t,)`` words between blanks, which is how expression length is counted in the field."""
    return np.fromiter((len(text.split()) for text in texts), np.int64, len(texts))


def word_classes(texts: Sequence[str], lists: Mapping[str, Sequence[str]]) -> dict[str, Bools]:
    """Which texts hold a word or phrase of each list.

    Args:
        texts: ``t`` expressions.
        lists: words and phrases by class, as `tokens` would spell them.

    Returns:
        ``(t,)`` by class.
    """
    ids, text_of_word, vocabulary = _encode(texts)
    return {
        name: _texts_with(_occurrences(entries, ids, text_of_word, vocabulary), text_of_word, len(texts))
        for name, entries in lists.items()
    }


def _encode(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, int]]:
    """``(w,)`` number of each word, ``(w,)`` number of the text it stands in, and the numbers by word.

    All texts are one long text here, a line each: a call per text would take most of the time.
    """
    lines = "\n".join(texts)
    if lines.count("\n") != len(texts) - 1:
        lines = "\n".join(text.replace("\n", " ") for text in texts)
    lines = lines.lower().translate(_BLANK)
    words = lines.split()
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    ids = np.fromiter(map(vocabulary.__getitem__, words), np.int64, len(words))
    lengths = np.fromiter((len(line.split()) for line in lines.split("\n")), np.int64)
    return ids, np.repeat(np.arange(len(texts)), lengths[: len(texts)]), vocabulary


def _occurrences(
    entries: Sequence[str],
    ids: NDArray[np.int64],
    text_of_word: NDArray[np.int64],
    vocabulary: Mapping[str, int],
) -> Bools:
    """``(w,)`` True where an entry starts."""
    phrases = [entry.split() for entry in entries]
    member = np.zeros(len(vocabulary) + 1, bool)
    member[[vocabulary[words[0]] for words in phrases if len(words) == 1 and words[0] in vocabulary]] = True
    found = member[ids]
    for words in phrases:
        if len(words) > 1 and all(word in vocabulary for word in words):
            found |= _phrase([vocabulary[word] for word in words], ids, text_of_word)
    return found


def _phrase(phrase: Sequence[int], ids: NDArray[np.int64], text_of_word: NDArray[np.int64]) -> Bools:
    """``(w,)`` True where the phrase starts; it must not run into the next text."""
    found = np.zeros(len(ids), bool)
    last = len(phrase) - 1
    starts = np.flatnonzero(ids[: len(ids) - last] == phrase[0])
    for step, word in enumerate(phrase[1:], start=1):
        starts = starts[ids[starts + step] == word]
    found[starts[text_of_word[starts + last] == text_of_word[starts]]] = True
    return found


def _texts_with(found: Bools, text_of_word: NDArray[np.int64], count: int) -> Bools:
    return np.asarray(np.bincount(text_of_word[found], minlength=count) > 0)
