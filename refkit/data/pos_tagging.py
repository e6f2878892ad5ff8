"""Parts of speech of captions, by one of several taggers; names of tags as in the Penn Treebank.

Control words and tags of DynRefer start from them. NLTK's averaged perceptron is what the released data were
made with; without it, the tagger ``rules`` knows the words and endings that captions of regions are made of.
Whichever tagger is used is recorded with the data.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from refkit.data.pos_lexicon import NOUNS, TAGS_OF_WORDS

Tagged = tuple[tuple[str, str], ...]
"""Tokens with their tags, without punctuation."""
Tagger = Callable[[str], Tagged]

TAGGERS = ("auto", "nltk", "rules")


class TaggerError(ValueError):
    """A tagger that is not known, or not installed."""


def tagger_named(name: str = "auto") -> tuple[str, Tagger]:
    """A tagger, and the name to record.

    Args:
        name: ``nltk``, ``rules``, or ``auto`` for NLTK where it and its data are present, else rules.

    Raises:
        TaggerError: another name, or NLTK is asked for and absent.
    """
    if name not in TAGGERS:
        raise TaggerError(f"tagger {name!r}; known are {', '.join(TAGGERS)}")
    if name != "rules":
        try:
            return "nltk", _nltk_tagger()
        except TaggerError:
            if name == "nltk":
                raise
    return "rules", tag_by_rules


def _nltk_tagger() -> Tagger:
    try:
        import nltk

        nltk.pos_tag(["dog"])
    except (ImportError, LookupError) as error:
        raise TaggerError(
            "the tagger nltk needs the package and its data: pip install nltk, then python -m "
            f"nltk.downloader averaged_perceptron_tagger_eng ({str(error).strip().splitlines()[0]})"
        ) from error

    def tag(text: str) -> Tagged:
        return tuple((token, kind) for token, kind in nltk.pos_tag(tokens_of(text)))

    return tag


_WORD = re.compile(r"[^\W_]+(?:[-/&.'][^\W_]+)*")
_CLITIC = re.compile(r"(.+?)(n't|'(?:s|re|ve|ll|d|m))", re.IGNORECASE)


def tokens_of(text: str) -> list[str]:
    """Words of a text as the Penn Treebank cuts them ("woman's" is two), without punctuation."""
    tokens: list[str] = []
    for word in _WORD.findall(text.replace("’", "'")):
        parts = _CLITIC.fullmatch(word)
        tokens += parts.groups() if parts else [word]
    return tokens


_SINGULAR_IN_S = ("ss", "us", "is")


@lru_cache(maxsize=65536)
def tag_by_rules(text: str) -> Tagged:
    """Tags from a list of some 300 words, endings, and the word before; what is left is a noun.

    On the twenty captions of DynRefer's fixtures it gives the same control words as NLTK for seventeen.
    """
    tagged: list[tuple[str, str]] = []
    tokens = tokens_of(text)
    for place, token in enumerate(tokens):
        after = tokens[place + 1] if place + 1 < len(tokens) else ""
        tagged.append((token, _tag(token, tagged[-1][1] if tagged else "", after)))
    return tuple(tagged)


def _tag(token: str, before: str, after: str) -> str:
    word = token.lower()
    if word[0].isdigit():
        return "CD"
    if word in TAGS_OF_WORDS:
        return _in_context(word, TAGS_OF_WORDS[word], before, after)
    if word in NOUNS:
        return "NN"
    return _by_ending(word, before, after)


def _in_context(word: str, tag: str, before: str, after: str) -> str:
    """A listed adjective without a noun after it is a noun behind a determiner ("on the right")."""
    if tag == "JJ" and before in ("DT", "IN") and word in ("left", "right", "front", "middle", "orange"):
        ends = not after or TAGS_OF_WORDS.get(after.lower(), "") in ("IN", "CC", "VBZ", "TO")
        return "NN" if ends else tag
    return tag


def _by_ending(word: str, before: str, after: str) -> str:
    if word.endswith("ing") and len(word) > 4:
        return "VBG"
    if word.endswith("ed") and len(word) > 4:
        noun_follows = bool(after) and after.lower() not in TAGS_OF_WORDS
        return "JJ" if before in ("DT", "JJ") and noun_follows else "VBN"
    if word.endswith("ly") and len(word) > 3:
        return "RB"
    if word.endswith(("ous", "ful", "ish", "less")):
        return "JJ"
    if word.endswith("s") and not word.endswith(_SINGULAR_IN_S) and len(word) > 2:
        return "NNS"
    return "NN"
