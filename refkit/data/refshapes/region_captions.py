"""Captions of single objects, told from their place or from a neighbour, and whether a caption is true.

What says captions and what checks them share the names of places and nothing else: `check_caption` reads any
caption by the meaning of its words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refkit.data.records import ImageRef, Record
from refkit.data.refshapes.scene import COLOURS, FILLS, MIN_OBJECTS, SHAPES, SIZES, Item
from refkit.data.refshapes.world import (
    Situation,
    imagine,
    picture_name,
    save_picture,
    target_of,
    visible_extent,
)

TAGS = (*SHAPES, *COLOURS, *(fill for fill in FILLS if fill != "solid"), *SIZES)
"""Words that objects are tagged with."""

ROWS = ("top", "upper", "middle", "lower", "bottom")
COLUMNS = ("far left", "left", "middle", "right", "far right")
# Axis (0 = x, 1 = y) and the side of the anchor on which the object lies.
RELATIONS = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}
PER_SCENE = MIN_OBJECTS
_RELATION_GAP = 0.1
_MARGIN = 0.04
_PLACE = re.compile(rf"({'|'.join(ROWS)}) ({'|'.join(sorted(COLUMNS, key=len, reverse=True))})$")
_RELATION = re.compile(rf"^(.*?) (?:to the )?({'|'.join(RELATIONS)}) (?:an? |the )?(.*)$")


def tags_of(item: Item) -> list[str]:
    """The tags of an object, in the order of `TAGS`."""
    return [tag for tag in TAGS if tag in (item.shape, item.colour, item.fill, item.size)]


def scene_facts(situation: Situation) -> list[dict[str, Any]]:
    """What a caption can be checked by: ``shape``, ``colour`` and the centre ``x, y`` of what is visible, in
    fractions of the picture, for every object from back to front.
    """
    boxes = np.array([visible_extent(item) for item in situation.items])
    centres = ((boxes[:, :2] + boxes[:, 2:]) / 2).round(4).tolist()
    return [
        {"shape": item.shape, "colour": item.colour, "x": x, "y": y}
        for item, (x, y) in zip(situation.items, centres, strict=True)
    ]


def object_captions(situation: Situation, index: int) -> list[str]:
    """The object with its place, and with its nearest nameable neighbour where there is one.

    A neighbour is named by colour and shape, which no other object has together, and lies clearly to one
    side.
    """
    item, scene = situation.items[index], scene_facts(situation)
    told = [item.located_caption]
    names = [f"{thing['colour']} {thing['shape']}" for thing in scene]
    found = []
    for other, name in enumerate(names):
        if other == index or names.count(name) > 1:
            continue
        apart = scene[index]["x"] - scene[other]["x"], scene[index]["y"] - scene[other]["y"]
        axis = int(abs(apart[1]) > abs(apart[0]))
        if abs(apart[axis]) > _RELATION_GAP:
            word = next(w for w, (a, sign) in RELATIONS.items() if a == axis and sign * apart[axis] > 0)
            found.append((apart[0] ** 2 + apart[1] ** 2, f"{item.caption} {word} the {name}"))
    return told + [text for _, text in sorted(found)[:1]]


def describe_object(situation: Situation, seed: int, index: int) -> Record:
    """The record of one object of a situation.

    Args:
        situation: as `imagine` gives it.
        seed: of the data set; it becomes part of the id.
        index: of the object, from back to front.
    """
    item, side = situation.items[index], situation.drawing.image.shape[0]
    name = f"refshapes.seed{seed}.{situation.index}.object{index}"
    return Record(
        id=name,
        image=ImageRef(picture_name(seed, situation.index), side, side, situation.index),
        targets=[target_of(situation, index)],
        object=name,
        references=object_captions(situation, index),
        labels=item.attributes,
        facts={"tags": tags_of(item)},
    )


def chosen_objects(situation: Situation, seed: int) -> list[int]:
    """The three objects of a scene that are asked about, the same at every call."""
    order = np.random.default_rng((seed, situation.index, 1)).permutation(len(situation.items))
    return [int(index) for index in order[:PER_SCENE]]


def iter_object_records(
    seed: int, start: int, scenes: int, size: int, out_images: Path | None = None
) -> Iterator[Record]:
    """Records of single objects, three for each scene; arguments as for `iter_records`."""
    for index in range(start, start + scenes):
        situation = imagine(seed, index, size)
        if out_images is not None:
            save_picture(situation, seed, out_images)
        for chosen in chosen_objects(situation, seed):
            yield describe_object(situation, seed, chosen)


@dataclass(frozen=True, slots=True)
class CaptionCheck:
    """What is true in a caption.

    Attributes:
        shape: the head noun is the object's shape.
        colour: the word before it is the object's colour.
        place: a place or a relation is told, and it is right.
    """

    shape: bool
    colour: bool
    place: bool

    @property
    def all(self) -> bool:
        """Shape, colour, and a place or relation."""
        return self.shape and self.colour and self.place


def check_caption(text: str, scene: Sequence[Mapping[str, Any]], index: int) -> CaptionCheck:
    """Compare a caption with the scene.

    A place is right if the centre of the object lies in the named fifth of width and height, or at most 0.04
    of the picture beside it. A relation is right if some object of the named colour and shape (or shape
    alone) has the object on the named side.

    Args:
        text: the caption.
        scene: see `scene_facts`.
        index: of the object within it.
    """
    words = " ".join(text.lower().split()).rstrip(".")
    place, relation = _PLACE.search(words), _RELATION.match(words)
    if relation is not None:
        head, right = relation[1], _relates(relation[2], relation[3], scene, index)
    elif place is not None:
        head, right = words[: place.start()].strip(), _lies(place[1], place[2], scene[index])
    else:
        head, right = words, False
    named = head.split()
    return CaptionCheck(
        shape=named[-1:] == [scene[index]["shape"]],
        colour=named[-2:-1] == [scene[index]["colour"]],
        place=right,
    )


def _lies(row: str, column: str, thing: Mapping[str, Any]) -> bool:
    spans = ((thing["x"], COLUMNS.index(column)), (thing["y"], ROWS.index(row)))
    return all(cell / 5 - _MARGIN <= centre <= (cell + 1) / 5 + _MARGIN for centre, cell in spans)


def _relates(word: str, anchor: str, scene: Sequence[Mapping[str, Any]], index: int) -> bool:
    axis, sign = RELATIONS[word]
    key = "xy"[axis]
    fitting = [
        thing
        for number, thing in enumerate(scene)
        if number != index and anchor in (thing["shape"], f"{thing['colour']} {thing['shape']}")
    ]
    return any(sign * (scene[index][key] - thing[key]) > 0 for thing in fitting)
