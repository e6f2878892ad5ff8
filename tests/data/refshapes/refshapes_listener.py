"""A listener for RefShapes, written from the meaning of the words alone: who could be meant by a text?

It shares no code with the speaker in `refkit.data.refshapes.expressions`, and uses no margins: a text whose
answer depended on a margin would be answered differently here.
"""

from __future__ import annotations

import re

SIZES = {"small": "small", "little": "small", "large": "large", "big": "large"}
FILLS = ("striped", "dotted", "checkered")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "white")
PLACES = {
    "leftmost": (0, 1),
    "on the far left": (0, 1),
    "rightmost": (0, -1),
    "on the far right": (0, -1),
    "topmost": (1, 1),
    "at the top": (1, 1),
    "bottommost": (1, -1),
    "at the bottom": (1, -1),
}
SIDES = {"left": (0, 1), "right": (0, -1), "top": (1, 1), "bottom": (1, -1)}
RELATIONS = {
    "to the left of": (0, -1),
    "left of": (0, -1),
    "to the right of": (0, 1),
    "right of": (0, 1),
    "above": (1, -1),
    "over": (1, -1),
    "below": (1, 1),
    "under": (1, 1),
}


def fitting(phrase: str, things: list[dict]) -> list[int]:
    """Indices of the things that a plain noun phrase fits."""
    *adjectives, noun = phrase.split()
    found = [i for i, thing in enumerate(things) if thing["shape"] == noun]
    for word in adjectives:
        if word in SIZES:
            found = [i for i in found if things[i]["size"] == SIZES[word]]
        elif word in FILLS:
            found = [i for i in found if things[i]["fill"] == word]
        else:
            assert word in COLOURS, word
            found = [i for i in found if things[i]["colour"] == word]
    return found


def meant(text: str, things: list[dict]) -> list[int]:
    """Indices of all things that a text can mean."""
    assert text.startswith("the ")
    for understand in (_relation, _ordinal, _corner, _place, _comparative):
        answer = understand(text, things)
        if answer is not None:
            return answer
    return fitting(text.removeprefix("the "), things)


def _along(things: list[dict], axis: int, sign: int):
    return lambda i: sign * things[i]["centre"][axis]


def _relation(text, things):
    for words in sorted([*RELATIONS, "closest to"], key=len, reverse=True):
        match = re.fullmatch(rf"the (.+?) {words} the (.+)", text)
        if not match:
            continue
        (anchor,) = fitting(match[2], things)
        group = [i for i in fitting(match[1], things) if i != anchor]
        if words == "closest to":
            ax, ay = things[anchor]["centre"]
            ordered = sorted(
                group, key=lambda i: (things[i]["centre"][0] - ax) ** 2 + (things[i]["centre"][1] - ay) ** 2
            )
            return ordered[:1]
        along = _along(things, *RELATIONS[words])
        return [i for i in group if along(i) > along(anchor) + 0.05]
    return None


def _ordinal(text, things):
    match = re.fullmatch(r"the (first|second|third) (.+) from the (\w+)", text)
    if not match:
        return None
    ordered = sorted(fitting(match[2], things), key=_along(things, *SIDES[match[3]]))
    return [ordered[("first", "second", "third").index(match[1])]]


def _corner(text, things):
    match = re.fullmatch(r"the (.+) in the (top|bottom) (left|right) corner", text)
    if not match:
        return None

    def depth(i):
        x, y = things[i]["centre"]
        return max(abs(x - (match[3] == "right")), abs(y - (match[2] == "bottom")))

    return [i for i in fitting(match[1], things) if depth(i) < 0.45]


def _place(text, things):
    for words, side in PLACES.items():
        match = re.fullmatch(rf"the {words} (.+)" if " " not in words else rf"the (.+) {words}", text)
        if match:
            return [min(fitting(match[1], things), key=_along(things, *side))]
    return None


def _comparative(text, things):
    match = re.fullmatch(r"the (bigger|biggest|smaller|smallest) (.+)", text)
    if not match:
        return None
    group = fitting(match[2], things)
    assert len(group) == 2 or match[1].endswith("est"), text
    choose = max if match[1].startswith("big") else min
    return [choose(group, key=lambda i: things[i]["radius"])]
