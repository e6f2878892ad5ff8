"""From (seed, index) to everything RefShapes knows about one scene: picture, objects, five expressions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from refkit.data.files import atomic_write
from refkit.data.records import ImageRef, Record, Target
from refkit.data.refshapes.drawing import Drawing, draw
from refkit.data.refshapes.expressions import KINDS, Expression, View, express
from refkit.data.refshapes.scene import MAX_OBJECTS, MIN_OBJECTS, Item, Scene, sample_scene
from refkit.rle import encode

MIN_SIDE = 5.0  # pixels; an object whose visible box is thinner is never drawn
_REFERENCE_SIZE = 96


@dataclass(frozen=True, slots=True)
class Situation:
    """One drawn scene with one expression of every kind.

    Attributes:
        index: number of the scene.
        scene: the objects.
        drawing: pixels, masks and boxes.
        expressions: one of each of `KINDS`, in that order.
    """

    index: int
    scene: Scene
    drawing: Drawing
    expressions: tuple[Expression, ...]

    @property
    def items(self) -> tuple[Item, ...]:
        """The objects from back to front."""
        return self.scene.items


def imagine(
    seed: int,
    index: int,
    size: int,
    min_objects: int = MIN_OBJECTS,
    max_objects: int = MAX_OBJECTS,
) -> Situation:
    """The scene that belongs to (seed, index): always the same, whatever was asked for before.

    Scenes are drawn again until every kind of expression is possible. What is said does not depend on
    ``size``: visibility is judged on a canvas of fixed size.

    Args:
        seed: of the data set.
        index: number of the scene, from 0.
        size: side of the picture in pixels.
        min_objects: fewest objects, at least 3.
        max_objects: most objects.
    """
    rng = np.random.default_rng((seed, index))
    while True:
        scene = sample_scene(rng, min_objects, max_objects)
        expressions = _speak(scene, rng)
        if expressions is None:
            continue
        drawing = draw(scene, size)
        if _all_visible(drawing):
            return Situation(index, scene, drawing, expressions)


def _speak(scene: Scene, rng: np.random.Generator) -> tuple[Expression, ...] | None:
    boxes = np.asarray([visible_extent(item) for item in scene.items])
    view = View(scene.items, (boxes[:, :2] + boxes[:, 2:]) / 2)
    spoken = []
    for kind in KINDS:
        expression = express(view, kind, rng)
        if expression is None:
            return None
        spoken.append(expression)
    return tuple(spoken)


def visible_extent(item: Item) -> tuple[float, float, float, float]:
    """Square around an object, cut at the canvas, as fractions: places are judged by it."""
    return (
        max(item.x - item.radius, 0.0),
        max(item.y - item.radius, 0.0),
        min(item.x + item.radius, 1.0),
        min(item.y + item.radius, 1.0),
    )


def _all_visible(drawing: Drawing) -> bool:
    sides = drawing.boxes[:, 2:] - drawing.boxes[:, :2]
    return bool((sides >= MIN_SIDE * drawing.image.shape[0] / _REFERENCE_SIZE).all())


def iter_records(
    seed: int, start: int, scenes: int, size: int, out_images: Path | None = None
) -> Iterator[Record]:
    """Records of a range of scenes, five for each, as any other source gives them.

    Args:
        seed: of the data set.
        start: number of the first scene.
        scenes: how many scenes.
        size: side of the pictures in pixels.
        out_images: folder for the pictures as PNG; None writes none.
    """
    for index in range(start, start + scenes):
        situation = imagine(seed, index, size)
        if out_images is not None:
            save_picture(situation, seed, out_images)
        for position in range(len(KINDS)):
            yield describe(situation, seed, position)


def describe(situation: Situation, seed: int, position: int) -> Record:
    """The record of one expression of a situation.

    Args:
        situation: as `imagine` gives it.
        seed: of the data set; it becomes part of the ids.
        position: which expression, 0 … ``len(KINDS) - 1``.
    """
    expression = situation.expressions[position]
    side = situation.drawing.image.shape[0]
    item = situation.items[expression.target]
    prefix = f"refshapes.seed{seed}.{situation.index}"
    return Record(
        id=f"{prefix}.{expression.kind}",
        image=ImageRef(picture_name(seed, situation.index), side, side, situation.index),
        text=expression.text,
        targets=[target_of(situation, expression.target)],
        object=f"{prefix}.object{expression.target}",
        references=[item.caption],
        labels=item.attributes,
        facts={
            "kind": expression.kind,
            "objects": [[float(value) for value in box] for box in situation.drawing.boxes],
            "object_categories": [other.shape for other in situation.items],
        },
    )


def target_of(situation: Situation, index: int) -> Target:
    """One object: the box and the mask of what is visible of it, its number and its shape."""
    box = tuple(float(value) for value in situation.drawing.boxes[index])
    mask = encode(situation.drawing.mask(index))
    return Target((box[0], box[1], box[2], box[3]), mask, index, situation.items[index].shape)


def picture_name(seed: int, index: int) -> str:
    """File name of a scene's picture."""
    return f"seed{seed}_{index:07d}.png"


def save_picture(situation: Situation, seed: int, folder: Path) -> None:
    """The picture as PNG, under the name that its records state."""
    buffer = BytesIO()
    Image.fromarray(situation.drawing.image).save(buffer, format="PNG")
    atomic_write(folder / picture_name(seed, situation.index), buffer.getvalue())
