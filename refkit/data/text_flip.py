"""Left and right as *words*: what a mirrored picture does to its sentence.

Swapping substrings would turn "bright" into "bleft"; here only whole words are swapped, in the case they were
written in. Crowd-written sentences also hold uses that no table can swap ("right next to", "3 o'clock",
"bottomleft", "rigth"): `can_flip` says so, and a flip then leaves the sample alone.
The lists come from reading the 88,840 public expressions of the RefCOCO family.
"""

from __future__ import annotations

import re

_PAIRS = {
    "left": "right",
    "leftmost": "rightmost",
    "leftest": "rightest",
    "leftiest": "rightiest",
    "leftish": "rightish",
    "lefty": "righty",
    "lefties": "righties",
    "lefthand": "righthand",
    "lefthanded": "righthanded",
    "leftside": "rightside",
    "leftward": "rightward",
    "leftwards": "rightwards",
}
_SWAP = {**_PAIRS, **{right: left for left, right in _PAIRS.items()}}
_WORD = re.compile(r"[^\W_]+")

_HARMLESS = re.compile(r"(?:a|al|b|copy|down|forth|f|out|play|up|w)right\w*|leftovers?|righteous\w*|cleft\w*")
_HIDDEN_SIDE = re.compile(r"left|right")
_MISSPELT = frozenset(
    (
        *(
            "rigth",
            "righ",
            "rigt",
            "rihgt",
            "riht",
            "rihg",
            "righr",
            "righjt",
            "riight",
            "rightt",
            "righth",
            "rgiht",
        ),
        *(
            "rght",
            "rt",
            "r",
            "lef",
            "leftt",
            "lefft",
            "lefy",
            "eleft",
            "elft",
            "leff",
            "lft",
            "leftmmost",
            "lt",
            "l",
        ),
    )
)
_CLOCK = re.compile(r"\bo\W{0,2}i?clock\b|\d\s*o\W{0,2}clock", re.IGNORECASE)
# "right next to", "right now", "what is left": not places. After "the", "on", "far", "top" … they are places
# again.
_ADVERB = re.compile(
    r"(?:\b(?P<before>\w+)\W+)?\b(?:left|right)\s+"
    r"(?:next|now|here|there|away|behind|beside|above|below|under|underneath|by|at|after|before|against|"
    r"in\s+front|angled?|side\s+up|over|out|alone|open|unattended)\b",
    re.IGNORECASE,
)
_PLACING = frozenset(
    (
        *("the", "on", "to", "in", "at", "from", "of", "your", "my", "our"),
        *("far", "top", "bottom", "upper", "lower", "front", "back", "middle", "center", "centre"),
    )
)
_REMAINING = re.compile(
    r"\b(?:is|are|was|were|be|been|has|have|had|'s|nothing)\s+(?:left|right)\b", re.IGNORECASE
)


def flip_text(text: str) -> str:
    """Swap left and right (and leftmost, left-hand, lefty, …) wherever they are whole words, keeping their
    case.

    Applied twice it gives the text back. Ask `can_flip` first whether the result means what the mirrored
    picture shows.
    """
    return _WORD.sub(lambda match: _swap_word(match.group()), text)


def can_flip(text: str) -> bool:
    """Whether `flip_text` can be trusted to describe the mirrored picture.

    False for clock positions, words glued to a side ("bottomleft"), known misspellings of the sides, mixed
    case ("LeFt") and uses that are no places ("right next to the car", "the slice that is left").
    """
    if _CLOCK.search(text) or _REMAINING.search(text):
        return False
    if any((match["before"] or "").lower() not in _PLACING for match in _ADVERB.finditer(text)):
        return False
    return all(_is_clear(word) for word in _WORD.findall(text))


def _is_clear(word: str) -> bool:
    lower = word.lower()
    if lower in _SWAP:
        return _swap_word(_swap_word(word)) == word and _has_plain_case(word)
    if lower in _MISSPELT:
        return False
    return not _HIDDEN_SIDE.search(lower) or _HARMLESS.fullmatch(lower) is not None


def _has_plain_case(word: str) -> bool:
    return word in (word.lower(), word.upper(), word.capitalize())


def _swap_word(word: str) -> str:
    swapped = _SWAP.get(word.lower())
    if swapped is None or not _has_plain_case(word):
        return word
    if word.islower():
        return swapped
    return swapped.upper() if word.isupper() else swapped.capitalize()
