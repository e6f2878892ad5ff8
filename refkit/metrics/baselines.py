"""Trivial REC predictors that look at no pixel and no word: what a trained model has to beat.

*random object* and *largest object* choose among the annotated objects of the scene, which a record carries
as ``facts["objects"]``, a list of xyxy boxes in pixels (RefShapes writes it); *centre box* needs the image
size only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from refkit.metrics.boxes import as_boxes, box_area
from refkit.structures import Prediction

if TYPE_CHECKING:
    from refkit.data.records import Record

CENTRE_FRACTION = 0.5


class BaselineError(ValueError):
    """A baseline that does not exist, or a record that lacks what it needs."""


def scene_objects(record: Record) -> NDArray[np.float64]:
    """``(k, 4)`` boxes of all objects in the picture of a record.

    Raises:
        BaselineError: the record does not carry them.
    """
    objects = (record.facts or {}).get("objects")
    if not objects:
        raise BaselineError(
            f"record {record.id!r} does not list the objects of its picture (facts.objects); "
            "only the baseline 'centre box' works on such records"
        )
    return as_boxes(objects)


def random_object(record: Record, seed: int = 0) -> NDArray[np.float64]:
    """``(4,)`` one of the objects, drawn from the seed and the id, whatever the order of the records."""
    objects = scene_objects(record)
    rng = np.random.default_rng((seed, crc32(record.id.encode())))
    return objects[rng.integers(len(objects))]


def largest_object(record: Record, seed: int = 0) -> NDArray[np.float64]:
    """``(4,)`` the object of the largest box, the first of equals."""
    objects = scene_objects(record)
    return objects[np.argmax(box_area(objects))]


def centre_box(record: Record, seed: int = 0) -> NDArray[np.float64]:
    """``(4,)`` a box in the middle of the picture, half as wide and half as high."""
    size = np.array([record.image.width, record.image.height], np.float64)
    margin = (1 - CENTRE_FRACTION) / 2 * size
    return np.concatenate((margin, size - margin))


BASELINES: dict[str, Callable[[Record, int], NDArray[np.float64]]] = {
    "random object": random_object,
    "largest object": largest_object,
    "centre box": centre_box,
}


def baseline_predictions(name: str, records: Iterable[Record], seed: int = 0) -> Iterator[Prediction]:
    """The answers of one baseline to all records.

    Args:
        name: a key of `BASELINES`.
        records: in any order.
        seed: of *random object*; the others ignore it.

    Raises:
        BaselineError: no such baseline, or a record without the objects of its scene.
    """
    if name not in BASELINES:
        raise BaselineError(f"no baseline {name!r}; there are {', '.join(map(repr, BASELINES))}")
    for record in records:
        yield Prediction(id=record.id, boxes=BASELINES[name](record, seed)[None])


def usable_baselines(record: Record) -> list[str]:
    """The baselines that work on records like this one."""
    listed = bool((record.facts or {}).get("objects"))
    return [name for name in BASELINES if listed or name == "centre box"]
