"""Predictions in memory: those of boxes and scores alone, which come by the million, in a few arrays."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from refkit.structures import Prediction


class PredictionTable(Mapping[str, Prediction]):
    """Predictions by id, in the order in which they were added.

    A million objects of arrays are 600 MB and slow to hand to another process; as columns they are 60 MB. A
    prediction is put together when it is asked for.
    """

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._others: list[Prediction] = []
        self._ends = array("q", (0,))
        self._boxes, self._scores = array("d"), array("d")
        self._scored = bytearray()

    def add(self, prediction: Prediction) -> None:
        """Take a prediction whose id is new."""
        plain = Prediction(prediction.id, prediction.boxes, prediction.scores)
        if prediction.boxes is None or any(
            getattr(prediction, name) != getattr(plain, name) for name in _BESIDE_BOXES
        ):
            self._others.append(prediction)
            self._rows[prediction.id] = -len(self._others)
            return
        scores = prediction.scores
        self.add_boxes(
            prediction.id, prediction.boxes.ravel().tolist(), None if scores is None else scores.tolist()
        )

    def add_boxes(self, identity: str, corners: Iterable[float], scores: Iterable[float] | None) -> None:
        """Take an answer of boxes.

        Args:
            identity: a new id.
            corners: four numbers per box.
            scores: one per box.
        """
        self._rows[identity] = len(self._scored)
        self._boxes.extend(corners)
        boxes = len(self._boxes) // 4
        self._scores.extend((np.nan,) * (boxes - self._ends[-1]) if scores is None else scores)
        self._ends.append(boxes)
        self._scored.append(scores is not None)

    def join(self, other: PredictionTable) -> None:
        """Take all predictions of another table; none of their ids is known here."""
        rows, others, boxes = len(self._scored), len(self._others), self._ends[-1]
        self._rows |= {key: row + rows if row >= 0 else row - others for key, row in other._rows.items()}
        self._others += other._others
        self._ends.extend([end + boxes for end in other._ends[1:]])
        self._boxes += other._boxes
        self._scores += other._scores
        self._scored += other._scored

    def __getitem__(self, identity: str) -> Prediction:
        row = self._rows[identity]
        if row < 0:
            return self._others[-row - 1]
        start, end = self._ends[row], self._ends[row + 1]
        if start == end:
            return Prediction(identity, np.zeros((0, 4)), np.zeros(0) if self._scored[row] else None)
        boxes = np.frombuffer(self._boxes[4 * start : 4 * end]).reshape(-1, 4)
        return Prediction(
            identity, boxes, np.frombuffer(self._scores[start:end]) if self._scored[row] else None
        )

    def __contains__(self, identity: object) -> bool:
        return identity in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


_BESIDE_BOXES = tuple(name for name in Prediction.__slots__ if name not in ("id", "boxes", "scores"))
