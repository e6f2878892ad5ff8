"""Control words: what a caption is told to speak about (DynRefer, section 3.3; after ControlCap).

In training they are words parsed from the caption itself and its tags, many of them left out; at inference
the tags that were predicted and what a user wants to hear. A prompt is ``word,word|``; ``|`` alone leaves the
model free.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from refkit.data.pos_tagging import Tagged

SEPARATOR = ","
TERMINATOR = "|"


def parse_words(tagged: Tagged) -> list[str]:
    """Nouns and adjectives of a caption, each with the nouns that follow it.

    As released, a word that occurs twice is always read at its first place.

    Args:
        tagged: tokens with Penn Treebank tags.

    Returns:
        The words in order, each once; one empty word where there is neither noun nor adjective.
    """
    tokens = [token for token, _ in tagged]
    nouns = {token for token, tag in tagged if "NN" in tag}
    words = []
    for token, tag in tagged:
        if "NN" not in tag and "JJ" not in tag:
            continue
        first = last = tokens.index(token)
        while last + 1 < len(tokens) and tokens[last + 1] in nouns:
            last += 1
        words.append(" ".join(tokens[first : last + 1]))
    return list(dict.fromkeys(words)) or [""]


def pooled(tags: Iterable[str], words: Iterable[str]) -> list[str]:
    """Tags, then words of the caption, each once."""
    return list(dict.fromkeys((*tags, *words)))


def drop_words(
    words: Sequence[str], rng: np.random.Generator, full_drop: float = 0.5, drop: float = 0.5
) -> list[str]:
    """What is left of the words in training, shuffled.

    Args:
        words: tags and words of the caption.
        rng: source of all randomness.
        full_drop: probability that none is left.
        drop: probability of each to be left out otherwise.
    """
    if rng.random() < full_drop:
        return []
    kept = [word for word, chance in zip(words, rng.random(len(words)), strict=True) if chance >= drop]
    return [kept[place] for place in rng.permutation(len(kept))]


def join_words(words: Iterable[str]) -> str:
    """The prompt: words joined by commas, and the terminator."""
    return SEPARATOR.join(words) + TERMINATOR


def control_prompt(tags: Iterable[str], wanted: Iterable[str] = (), order: Sequence[str] = ()) -> str:
    """The prompt of inference, the same in every run.

    The released code joins a Python set, whose order changes from run to run.

    Args:
        tags: predicted tags.
        wanted: words of the user; they come last, in the user's order.
        order: the list of tags, whose order the predicted ones get; without it they keep their own.

    Returns:
        ``tag,tag,word|``, every word once.
    """
    places = {tag: place for place, tag in enumerate(order)}
    ranked = sorted(dict.fromkeys(tags), key=lambda tag: places.get(tag, len(places)))
    return join_words(pooled(ranked, wanted))


def first_word_prompt(words: Sequence[str]) -> str:
    """The prompt that gives the first word of the true caption away: an oracle, for measuring control."""
    return join_words(words[:1])
