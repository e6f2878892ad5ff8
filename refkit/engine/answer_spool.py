"""Predictions of an evaluation on disk, so that memory does not grow with the masks of a data set."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator

from mmengine.dist import all_gather_object, gather_object, get_rank, get_world_size, is_main_process

from refkit.leaderboard.box_spaces import PIXEL
from refkit.leaderboard.schema import prediction_to_json, to_line
from refkit.leaderboard.validation import parse_prediction
from refkit.structures import Prediction

_LINES_AT_ONCE = 2000


class AnswerSpool:
    """Lines of a prediction file in a temporary file without a name, found by id.

    What stays in memory is an id and a number per prediction. Reading one back gives what a prediction file
    gives, bit for bit.

    Attributes:
        doubled: ids that were added more than once, for each time after the first.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="refkit-answers-")  # noqa: SIM115 - lives as long as this
        self._places: dict[str, int] = {}
        self.doubled: list[str] = []

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __getitem__(self, key: str) -> Prediction:
        """The prediction of an id.

        Raises:
            KeyError: there is none.
        """
        prediction, _ = parse_prediction(json.loads(self._line(key)), PIXEL)
        return prediction

    def add(self, prediction: Prediction) -> None:
        """Write one prediction.

        Raises:
            PredictionError: it could not be read back.
        """
        self._append(prediction.id, to_line(prediction_to_json(prediction)))

    def gather(self) -> None:
        """Bring the predictions of all processes to the first one, a piece at a time; called by all."""
        if get_world_size() == 1:
            return
        own = list(self._places)
        most = max(all_gather_object(len(own)))
        self.doubled = [key for keys in all_gather_object(self.doubled) for key in keys]
        for start in range(0, most, _LINES_AT_ONCE):
            keys = own[start : start + _LINES_AT_ONCE] if get_rank() else []
            parts = gather_object([(key, self._line(key)) for key in keys], dst=0)
            if is_main_process():
                for key, line in (pair for part in parts for pair in part):
                    self._append(key, line)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def _append(self, key: str, line: bytes) -> None:
        if key in self._places:
            self.doubled.append(key)
            return
        self._places[key] = self._file.seek(0, 2)
        self._file.write(line)

    def _line(self, key: str) -> bytes:
        self._file.seek(self._places[key])
        return self._file.readline()
