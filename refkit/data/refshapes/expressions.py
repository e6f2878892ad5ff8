"""Expressions of RefShapes: each names one object of a scene and no other, with margins that leave no doubt.

Five kinds: *attribute* ("the small striped circle"), *comparative* ("the biggest red star"), *position*
("the leftmost ring"), *ordinal* ("the second cross from the left") and *relation* ("the circle above the
green square"). Every expression has at least one distractor that shares its head noun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from refkit.data.refshapes.scene import COLOURS, FILLS, SHAPES, Item

KINDS = ("attribute", "comparative", "position", "ordinal", "relation")
# Margins as fractions of the canvas, except the two ratios.
_SIZE_RATIO = 1.22
_NEAR_RATIO = 1.35
_GAP = 0.06
_RELATION_GAP = 0.1
_MAX_HIDDEN_FOR_SIZE = 0.15
_CORNER = 0.42
_SIZE_WORDS = {"small": ("small", "little"), "large": ("large", "big")}
_ORDINALS = ("first", "second", "third")
# Axis (0 = x, 1 = y), direction (+1 counts from the low end), words for the extreme, and for "from the".
_SIDES = (
    (0, 1, ("the leftmost {}", "the {} on the far left"), "left"),
    (0, -1, ("the rightmost {}", "the {} on the far right"), "right"),
    (1, 1, ("the topmost {}", "the {} at the top"), "top"),
    (1, -1, ("the bottommost {}", "the {} at the bottom"), "bottom"),
)
_CORNERS = (
    ((0, 0), "top left"),
    ((1, 0), "top right"),
    ((0, 1), "bottom left"),
    ((1, 1), "bottom right"),
)
_RELATIONS = (
    (0, -1, ("to the left of", "left of")),
    (0, 1, ("to the right of", "right of")),
    (1, -1, ("above", "over")),
    (1, 1, ("below", "under")),
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A text that means exactly one object.

    Attributes:
        text: the words.
        kind: one of `KINDS`.
        target: index of the meant object in the scene.
    """

    text: str
    kind: str
    target: int


@dataclass(frozen=True, slots=True)
class View:
    """What a speaker sees: the objects with the centres of their visible parts.

    Attributes:
        items: the objects of the scene.
        centres: ``(K, 2)`` centres of the visible boxes, fractions of the canvas.
    """

    items: tuple[Item, ...]
    centres: np.ndarray


def express(view: View, kind: str, rng: np.random.Generator) -> Expression | None:
    """One random expression of a kind, or None when the scene allows none.

    Args:
        view: the scene as seen.
        kind: one of `KINDS`.
        rng: source of all randomness.
    """
    make = _MAKERS[kind]
    for target in rng.permutation(len(view.items)):
        if len(_like(view, int(target), ())) < 2:
            continue
        texts = list(make(view, int(target), rng))
        if texts:
            return Expression(texts[int(rng.integers(len(texts)))], kind, int(target))
    return None


def _like(view: View, target: int, names: Iterable[str]) -> list[int]:
    """Objects that share the head noun and the named attributes with the target (the target included)."""
    fields = ("shape", *names)
    wanted = view.items[target]
    return [
        index
        for index, item in enumerate(view.items)
        if all(getattr(item, name) == getattr(wanted, name) for name in fields)
    ]


def _phrase(item: Item, names: Iterable[str], rng: np.random.Generator) -> str:
    """The head noun with the named attributes in English order: size, fill, colour, shape."""
    chosen = set(names)
    words = []
    if "size" in chosen:
        options = _SIZE_WORDS[item.size]
        words.append(options[int(rng.integers(len(options)))])
    words += [getattr(item, name) for name in ("fill", "colour") if name in chosen]
    return " ".join((*words, item.shape))


def _sayable(item: Item) -> list[str]:
    """Attributes that people would name: medium size and solid fill go without saying."""
    names = ["colour"]
    if item.fill != "solid":
        names.append("fill")
    if item.size in _SIZE_WORDS:
        names.append("size")
    return names


def _attribute(view: View, target: int, rng: np.random.Generator) -> Iterable[str]:
    """The shortest combinations of attributes that only the target has."""
    item = view.items[target]
    names = _sayable(item)
    for count in range(1, len(names) + 1):
        found = [c for c in combinations(names, count) if _like(view, target, c) == [target]]
        if found:
            return [f"the {_phrase(item, c, rng)}" for c in found]
    return []


def _groups(view: View, target: int, smallest: int) -> list[tuple[tuple[str, ...], list[int]]]:
    """Named groups with the target in them and at least ``smallest`` members."""
    names: list[tuple[str, ...]] = [(), ("colour",)]
    if view.items[target].fill != "solid":
        names.append(("fill",))
    groups = [(chosen, _like(view, target, chosen)) for chosen in names]
    return [(chosen, members) for chosen, members in groups if len(members) >= smallest]


def _comparative(view: View, target: int, rng: np.random.Generator) -> Iterable[str]:
    """Largest or smallest of a group whose members all show their size."""
    texts = []
    for names, members in _groups(view, target, 2):
        if any(view.items[i].hidden > _MAX_HIDDEN_FOR_SIZE for i in members):
            continue
        noun = _phrase(view.items[target], names, rng)
        others = [view.items[i].radius for i in members if i != target]
        own = view.items[target].radius
        two = len(members) == 2
        if own > _SIZE_RATIO * max(others):
            texts.append(f"the {'bigger' if two else 'biggest'} {noun}")
        elif own * _SIZE_RATIO < min(others):
            texts.append(f"the {'smaller' if two else 'smallest'} {noun}")
    return texts


def _position(view: View, target: int, rng: np.random.Generator) -> Iterable[str]:
    """The extreme of a group on one side, or its only member in a corner."""
    texts = []
    for names, members in _groups(view, target, 2):
        noun = _phrase(view.items[target], names, rng)
        for axis, sign, patterns, _ in _SIDES:
            if _rank(view, target, members, axis, sign) == 0:
                texts.append(patterns[int(rng.integers(len(patterns)))].format(noun))
        texts += [
            f"the {noun} in the {words} corner"
            for corner, words in _CORNERS
            if _only_in_corner(view, target, members, corner)
        ]
    return texts


def _rank(view: View, target: int, members: list[int], axis: int, sign: int) -> int | None:
    """Place of the target counted from one side; None when a neighbour in that order is too close to call."""
    along = {i: sign * float(view.centres[i, axis]) for i in members}
    if any(abs(along[i] - along[target]) < _GAP for i in members if i != target):
        return None
    order = sorted(members, key=along.__getitem__)
    rank = order.index(target)
    # Places before the target must be countable too, not only its own.
    before = [along[i] for i in order[: rank + 1]]
    if any(b - a < _GAP / 2 for a, b in pairwise(before)):
        return None
    return rank


def _only_in_corner(view: View, target: int, members: list[int], corner: tuple[int, int]) -> bool:
    def depth(index: int) -> float:
        """Distance from the corner along the farther axis; small = deep in the corner."""
        return float(max(abs(view.centres[index] - corner)))

    own = depth(target)
    return own < _CORNER - _GAP and all(depth(i) > _CORNER + _GAP for i in members if i != target)


def _ordinal(view: View, target: int, rng: np.random.Generator) -> Iterable[str]:
    """First, second or third of a group of at least three, counted from one side."""
    texts = []
    for names, members in _groups(view, target, 3):
        noun = _phrase(view.items[target], names, rng)
        for axis, sign, _, side in _SIDES:
            rank = _rank(view, target, members, axis, sign)
            # The last one is rather called the first from the other side.
            if rank is not None and rank < min(len(_ORDINALS), len(members) - 1):
                texts.append(f"the {_ORDINALS[rank]} {noun} from the {side}")
    return texts


def _relation(view: View, target: int, rng: np.random.Generator) -> Iterable[str]:
    """The only member of a group on one side of, or nearest to, an object that has a name of its own."""
    texts = []
    for anchor in range(len(view.items)):
        name = _own_name(view, anchor, rng)
        if anchor == target or name is None:
            continue
        for names, members in _groups(view, target, 2):
            rivals = [i for i in members if i not in (anchor, target)]
            if not rivals:
                continue
            noun = _phrase(view.items[target], names, rng)
            words = _relation_words(view, target, anchor, rivals, rng)
            texts += [f"the {noun} {word} the {name}" for word in words]
    return texts


def _own_name(view: View, anchor: int, rng: np.random.Generator) -> str | None:
    """A phrase that only the anchor fits: its shape alone, or colour and shape."""
    for names in ((), ("colour",)):
        if _like(view, anchor, names) == [anchor]:
            return _phrase(view.items[anchor], names, rng)
    return None


def _relation_words(
    view: View, target: int, anchor: int, rivals: list[int], rng: np.random.Generator
) -> list[str]:
    offsets = view.centres - view.centres[anchor]
    words = []
    for axis, sign, options in _RELATIONS:
        along = sign * offsets[:, axis]
        if along[target] > _RELATION_GAP and all(along[i] < _RELATION_GAP / 4 for i in rivals):
            words.append(options[int(rng.integers(len(options)))])
    distance = np.hypot(offsets[:, 0], offsets[:, 1])
    if all(distance[i] > _NEAR_RATIO * distance[target] for i in rivals):
        words.append("closest to")
    return words


_Maker = Callable[[View, int, np.random.Generator], Iterable[str]]
_MAKERS: dict[str, _Maker] = {
    "attribute": _attribute,
    "comparative": _comparative,
    "position": _position,
    "ordinal": _ordinal,
    "relation": _relation,
}


def vocabulary() -> list[str]:
    """Texts that together hold every word an expression or a caption can hold, for building a vocabulary."""
    sides = [text.format("") for *_, patterns, side in _SIDES for text in (*patterns, side)]
    return [
        *SHAPES,
        *COLOURS,
        *(fill for fill in FILLS if fill != "solid"),
        *(word for words in _SIZE_WORDS.values() for word in words),
        *_ORDINALS,
        *sides,
        *(f"in the {words} corner" for _, words in _CORNERS),
        *(word for *_, words in _RELATIONS for word in words),
        "a an and the bigger biggest smaller smallest from closest to upper lower middle",
    ]
