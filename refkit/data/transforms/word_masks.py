"""Which words of a sentence are hidden, and what stands in their place: pure functions over token ids.

Referring-aware text masking of OneRef (released code; spec 5.5): the words that say what is meant, subject
and object of the sentence, are hidden first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

MASKED, KEPT = 0.8, 0.1
"""Shares of hidden tokens that become the mask token, and that stay; the rest become any token."""


def hidden_words(count: int, ratio: float) -> int:
    """How many of ``count`` tokens are hidden: ``int(ratio count + 0.5)``, at least one, at most all."""
    return min(max(int(ratio * count + 0.5), 1), count)


def positions_of(words: Sequence[tuple[str, int]], wanted: Iterable[str], split: bool) -> list[int]:
    """Positions of the tokens of each wanted word, in the order of the wanted words.

    Args:
        words: each word of the sentence with the number of its tokens, as tokenizers spell it.
        wanted: words; of each, the first occurrence counts, and none if there is none.
        split: also find words of several tokens; the released code does not.
    """
    found: list[int] = []
    for word in wanted:
        place = 0
        for text, tokens in words:
            if text == word and (split or tokens == 1):
                found += [at for at in range(place, place + tokens) if at not in found]
                break
            place += tokens
    return found


def choose_hidden(
    rng: np.random.Generator, first: int, last: int, count: int, before: Sequence[int] = ()
) -> np.ndarray:
    """``count`` positions among ``first … last``: those ``before`` all others, then uniformly at random."""
    chosen = [place for place in before if first <= place <= last][:count]
    others = np.setdiff1d(np.arange(first, last + 1), chosen)
    return np.concatenate(
        (np.array(chosen, np.int64), rng.choice(others, count - len(chosen), replace=False))
    )


def replace_hidden(
    rng: np.random.Generator, ids: np.ndarray, hidden: np.ndarray, mask_id: int, replacements: range
) -> np.ndarray:
    """What the model sees: 80 % of the hidden tokens masked, 10 % kept, 10 % random.

    Args:
        rng: source of all randomness.
        ids: ``(T,)`` int64.
        hidden: positions.
        mask_id: the mask token.
        replacements: ids that random tokens come from.

    Returns:
        ``(T,)`` int64.
    """
    draw = rng.random(len(hidden))
    anything = rng.integers(replacements.start, replacements.stop, len(hidden))
    seen = ids.copy()
    seen[hidden] = np.where(draw < MASKED, mask_id, np.where(draw < MASKED + KEPT, ids[hidden], anything))
    return seen
