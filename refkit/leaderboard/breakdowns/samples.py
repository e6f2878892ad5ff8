"""What breakdowns need to know of every sample, gathered while records and predictions stream by.

Notation: ``n`` samples, ``k`` images, ``t`` different texts.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from refkit import rle
from refkit.data.schema import Record
from refkit.leaderboard.breakdowns.objects import SceneObjects
from refkit.metrics.breakdown import UNKNOWN, Groups, group_label
from refkit.structures import Prediction

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

NO_BOX = (np.nan,) * 4


class Samples:
    """Columns over the scored records, in their order.

    Attributes:
        facts: group of each sample by name, for breakdowns by ``category`` and by facts of the records.
        objects: the annotated objects that the records themselves list (``facts["objects"]``).
    """

    def __init__(self, facts: Sequence[str] = ()) -> None:
        self._texts: dict[str | None, int] = {}
        self._numbers, self._counts = array("d"), array("q")
        self.facts = {name: Groups() for name in dict.fromkeys(("category", *facts))}
        self.objects: dict[str, SceneObjects] = {}

    def add(self, record: Record, prediction: Prediction | None) -> None:
        """Take the next scored record and its answer in pixels of the original image."""
        image, facts = record.image, record.facts
        box, score = top_answer(prediction)
        self._numbers.extend((*single_box(record), image.width, image.height, *box, score))
        text = self._texts.setdefault(record.text, len(self._texts))
        same_class = -1 if facts is None else _count(facts.get("same_class"))
        self._counts.extend((text, len(record.targets), same_class))
        for name, groups in self.facts.items():
            groups.add(group_label(record, name))
        if facts is not None and "objects" in facts and image.file not in self.objects:
            self.objects[image.file] = SceneObjects.of_facts(facts, record.id)

    def join(self, other: Samples) -> None:
        """Take the samples of another part of the records, which was asked for the same facts."""
        place = np.array([self._texts.setdefault(text, len(self._texts)) for text in other._texts], np.int64)
        counts = np.array(other._counts, np.int64).reshape(-1, 3)
        counts[:, 0] = place[counts[:, 0]]
        self._counts.frombytes(counts.tobytes())
        self._numbers += other._numbers
        for name, groups in self.facts.items():
            groups.join(other.facts[name])
        self.objects = other.objects | self.objects

    def __len__(self) -> int:
        return len(self._counts) // 3

    @property
    def texts(self) -> list[str | None]:
        """``t`` different texts."""
        return list(self._texts)

    @property
    def text_codes(self) -> Codes:
        """``(n,)`` index into `texts`."""
        return self._counted(0)

    @property
    def target_counts(self) -> Codes:
        """``(n,)`` targets of each record."""
        return self._counted(1)

    @property
    def boxes(self) -> Floats:
        """``(n, 4)`` box of the target in pixels; NaN where there is not exactly one target."""
        return self._measured(0, 4)

    @property
    def sizes(self) -> Floats:
        """``(n, 2)`` width and height of the pictures in pixels."""
        return self._measured(4, 6)

    @property
    def answers(self) -> Floats:
        """``(n, 4)`` the answered box of highest score in pixels; NaN without a box."""
        return self._measured(6, 10)

    @property
    def scores(self) -> Floats:
        """``(n,)`` its score; NaN without one."""
        return self._measured(10, 11)[:, 0]

    @property
    def same_class(self) -> Codes:
        """``(n,)`` other objects of the target's class, where the records state it; else -1."""
        return self._counted(2)

    @property
    def categories(self) -> tuple[list[str], Codes]:
        """Names, and ``(n,)`` index of the category of the first target, -1 where it is unknown."""
        groups = self.facts["category"]
        labels = groups.labels
        codes = groups.codes()
        if labels and labels[-1] == UNKNOWN:
            codes = np.where(codes == len(labels) - 1, -1, codes)
            labels = labels[:-1]
        return labels, codes

    def _counted(self, column: int) -> Codes:
        return np.array(np.asarray(self._counts, np.int64).reshape(-1, 3)[:, column])

    def _measured(self, first: int, last: int) -> Floats:
        return np.array(np.asarray(self._numbers).reshape(-1, 11)[:, first:last])


def single_box(record: Record) -> tuple[float, ...]:
    """The box of the only target (around its mask where it has no box); NaN with none or several."""
    if len(record.targets) != 1:
        return NO_BOX
    target = record.targets[0]
    if target.box is not None:
        return target.box
    return (rle.bounds(target.mask) if target.mask else None) or NO_BOX


def top_answer(prediction: Prediction | None) -> tuple[Sequence[float], float]:
    """Box and score of highest score, the first of equals; the first box where there are no scores."""
    if prediction is None or prediction.boxes is None or not len(prediction.boxes):
        return NO_BOX, np.nan
    scores = prediction.scores
    if scores is None:
        return prediction.boxes[0].tolist(), np.nan
    best = int(scores.argmax()) if len(scores) > 1 else 0
    return prediction.boxes[best].tolist(), scores.item(best)


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else -1
