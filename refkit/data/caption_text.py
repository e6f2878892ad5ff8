"""Captions as data sets and language models want them: cleaned phrases, normalised captions."""

from __future__ import annotations

import re
import string

_SPELLINGS = {
    "½": "half",
    "—": "-",
    "™": "",
    "¢": "cent",
    "ç": "c",
    "û": "u",
    "é": "e",
    "°": " degree",
    "è": "e",
    "…": "",
}
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_TO_BLANK = re.compile(r"[.!\"()*#:;~]")
_BLANKS = re.compile(r"\s{2,}")


def clean_phrase(phrase: str) -> list[str]:
    """Words of a Visual Genome phrase: unusual letters spelt out, lower case, ASCII punctuation deleted.

    DenseCap's rule, which DynRefer's training data follow too.
    """
    for letter, spelling in _SPELLINGS.items():
        phrase = phrase.replace(letter, spelling)
    return phrase.lower().translate(_NO_PUNCTUATION).split()


def normalise_caption(caption: str, max_words: int = 50) -> str:
    """BLIP's rule for captions that a language model learns from: lower case, some punctuation to blanks.

    Question marks, commas, apostrophes, hyphens and slashes stay.

    Args:
        caption: one caption.
        max_words: words beyond are cut off.
    """
    text = _BLANKS.sub(" ", _TO_BLANK.sub(" ", caption.lower())).rstrip("\n").strip(" ")
    return " ".join(text.split(" ")[:max_words])
