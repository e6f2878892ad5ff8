"""Scenes of RefShapes: which objects, where, in which order, decided by a seed and an index.

Coordinates are fractions of the canvas (0..1, origin upper left) until `draw` turns a scene into pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 38, 44),
    "green": (40, 160, 60),
    "blue": (36, 74, 208),
    "yellow": (240, 214, 50),
    "purple": (142, 52, 178),
    "orange": (240, 130, 30),
    "white": (240, 240, 240),
}
FILLS = ("solid", "striped", "dotted", "checkered")
# Radii (half of the extent, as a fraction of the canvas) have gaps between the classes, so that a size word
# is never a matter of taste.
SIZES: dict[str, tuple[float, float]] = {
    "small": (0.062, 0.075),
    "medium": (0.098, 0.118),
    "large": (0.15, 0.18),
}
_ROWS = ("top", "upper", "middle", "lower", "bottom")
_COLUMNS = ("far left", "left", "middle", "right", "far right")
MIN_OBJECTS, MAX_OBJECTS = 3, 8
_TRUNCATED_SHARE = 0.12
_MAX_HIDDEN = 0.3
_PLACEMENT_TRIES = 40


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a scene.

    Attributes:
        shape: one of `SHAPES`.
        colour: a key of `COLOURS`.
        fill: one of `FILLS`.
        size: a key of `SIZES`.
        x: centre, fraction of the canvas width.
        y: centre, fraction of the canvas height.
        radius: half of the extent, fraction of the canvas.
        angle: rotation in radians.
        shade: brightness factor around 1.
        hidden: estimated share that lies outside the canvas or behind later objects, 0..1.
    """

    shape: str
    colour: str
    fill: str
    size: str
    x: float
    y: float
    radius: float
    angle: float
    shade: float
    hidden: float = 0.0

    @property
    def caption(self) -> str:
        """``a [size] [fill] colour shape``: what a region captioner should say."""
        size = "" if self.size == "medium" else f"{self.size} "
        fill = "" if self.fill == "solid" else f"{self.fill} "
        article = "an" if f"{size}{fill}{self.colour}"[0] in "aeiou" else "a"
        return f"{article} {size}{fill}{self.colour} {self.shape}"

    @property
    def located_caption(self) -> str:
        """`caption` with the place on a grid of five by five: ``a red circle upper far left``."""
        row = _ROWS[min(int(5 * min(max(self.y, 0.0), 1.0)), 4)]
        column = _COLUMNS[min(int(5 * min(max(self.x, 0.0), 1.0)), 4)]
        return f"{self.caption} {row} {column}"

    @property
    def attributes(self) -> dict[str, int]:
        """Presence (1) or absence (0) of every attribute, by name."""
        return (
            {f"colour:{name}": int(name == self.colour) for name in COLOURS}
            | {f"fill:{name}": int(name == self.fill) for name in FILLS}
            | {f"size:{name}": int(name == self.size) for name in SIZES}
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """Objects from back to front, with the seed of the background.

    Attributes:
        items: from back to front.
        background: seed of the background texture.
    """

    items: tuple[Item, ...]
    background: int


def sample_scene(rng: np.random.Generator, min_objects: int, max_objects: int) -> Scene:
    """Draw one scene: at least three objects share a shape, so that every head noun has distractors.

    Args:
        rng: source of all randomness.
        min_objects: fewest objects, at least 3.
        max_objects: most objects.
    """
    count = int(rng.integers(min_objects, max_objects + 1))
    shapes = _sample_shapes(rng, count)
    while True:
        items = _place(rng, shapes)
        if items is not None:
            return Scene(tuple(items), int(rng.integers(2**31)))


def _sample_shapes(rng: np.random.Generator, count: int) -> list[str]:
    order = list(rng.permutation(len(SHAPES)))
    main = int(rng.integers(3, min(count, 5) + 1))
    shapes = [SHAPES[order[0]]] * main
    shapes += [SHAPES[order[int(rng.integers(0, 4))]] for _ in range(count - main)]
    return [shapes[i] for i in rng.permutation(count)]


def _place(rng: np.random.Generator, shapes: Sequence[str]) -> list[Item] | None:
    """Objects at free places, or None when the canvas is too crowded for this draw of sizes."""
    drafts: list[Item] = []
    for shape in shapes:
        for _ in range(_PLACEMENT_TRIES):
            draft = _sample_item(rng, shape)
            if _fits(draft, drafts):
                drafts.append(draft)
                break
        else:
            return None
    return drafts


def _sample_item(rng: np.random.Generator, shape: str) -> Item:
    size = tuple(SIZES)[int(rng.choice(3, p=(0.3, 0.45, 0.25)))]
    radius = float(rng.uniform(*SIZES[size]))
    x, y = rng.uniform(radius + 0.01, 0.99 - radius, 2)
    if rng.random() < _TRUNCATED_SHARE:
        x, y = _at_the_border(rng, x, y, radius)
    colours = tuple(COLOURS)
    return Item(
        shape=shape,
        colour=colours[int(rng.integers(len(colours)))],
        fill=FILLS[int(rng.choice(4, p=(0.46, 0.18, 0.18, 0.18)))],
        size=size,
        x=float(x),
        y=float(y),
        radius=radius,
        angle=float(rng.uniform(-0.3, 0.3)),
        shade=float(rng.uniform(0.85, 1.1)),
        hidden=_outside(float(x), float(y), radius),
    )


def _at_the_border(rng: np.random.Generator, x: float, y: float, radius: float) -> tuple[float, float]:
    """Move a centre along one axis so that 10 to 45 % of the extent lies outside the canvas."""
    depth = radius * (1 - 2 * rng.uniform(0.1, 0.45))
    value = depth if rng.random() < 0.5 else 1 - depth
    return (value, y) if rng.random() < 0.5 else (x, value)


def _outside(x: float, y: float, radius: float) -> float:
    """Share of the object's square that lies outside the canvas."""
    inside = 1.0
    for centre in (x, y):
        visible = min(centre + radius, 1.0) - max(centre - radius, 0.0)
        inside *= max(visible, 0.0) / (2 * radius)
    return max(1.0 - inside, 0.0)


def _fits(new: Item, placed: list[Item]) -> bool:
    """Whether ``new`` hides at most a part of each object behind it, and is not cut off too much itself."""
    if new.hidden > 0.45:
        return False
    for index, other in enumerate(placed):
        overlap = _overlap(new, other)
        if overlap == 0.0:
            continue
        hidden = other.hidden + overlap / (4 * other.radius**2)
        if hidden > _MAX_HIDDEN or overlap / (4 * new.radius**2) > 0.6:
            return False
        placed[index] = _hide(other, hidden)
    return True


def _overlap(a: Item, b: Item) -> float:
    """Area shared by the squares around two objects."""
    width = min(a.x + a.radius, b.x + b.radius) - max(a.x - a.radius, b.x - b.radius)
    height = min(a.y + a.radius, b.y + b.radius) - max(a.y - a.radius, b.y - b.radius)
    return max(width, 0.0) * max(height, 0.0)


def _hide(item: Item, hidden: float) -> Item:
    values = {name: getattr(item, name) for name in Item.__dataclass_fields__}
    return Item(**(values | {"hidden": hidden}))
