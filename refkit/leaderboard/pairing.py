"""Bringing records and predictions together: same digest, same ids, every record once."""

from __future__ import annotations

import os
from array import array
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from refkit.data.digest import RecordDigests
from refkit.data.record_scan import RecordScan, Tally
from refkit.data.schema import Header, Record
from refkit.leaderboard.box_spaces import implausible
from refkit.leaderboard.breakdowns.samples import Samples
from refkit.leaderboard.predictions import PredictionFile
from refkit.metrics.breakdown import Groups
from refkit.metrics.protocol import Protocol, protocols
from refkit.structures import Prediction

BAR: dict[str, Any] = {"unit": " records", "unit_scale": True, "delay": 2.0, "disable": None, "leave": False}

RecordSource = str | os.PathLike[str] | tuple[Header, Iterable[Record]]


class ScoringError(ValueError):
    """Records and predictions that do not belong together."""


class Truth:
    """The records, streamed once, and the two digests that predictions must state."""

    def __init__(self, source: RecordSource, span: tuple[int, int] | None = None) -> None:
        """Read the header.

        Args:
            source: the records.
            span: only those whose lines begin at these bytes of the file; `finish` takes the rest.
        """
        self._scan: RecordScan | None = None
        self._known: dict[str, None] = {}
        if isinstance(source, tuple):
            self.header, self._records = source
            self.name = f"the records {self.header.name}"
        else:
            self._scan = RecordScan(source, span)
            self.header = self._scan.header
            self.name = os.fspath(source)

    def __iter__(self) -> Iterator[Record]:
        if self._scan is None:
            yield from self._with_digests()
        else:
            for _, _, record in self._scan:
                yield record

    @property
    def ids(self) -> Collection[str]:
        """Of the records read so far, each once."""
        return self._known if self._scan is None else self._scan.tally.lines

    @property
    def tally(self) -> Tally:
        """Of the records of a file, as far as they were read."""
        assert self._scan is not None
        return self._scan.tally

    def finish(self, rest: Tally) -> None:
        """Check the file as a whole, of which a span was read here and the rest elsewhere.

        Raises:
            RecordError: counts or digests disagree with the header.
        """
        assert self._scan is not None
        self._scan.tally.join(rest)
        self._scan.finish()

    def _with_digests(self) -> Iterator[Record]:
        """Records in memory; a file brings its own check."""
        digests = RecordDigests()
        for record in self._records:
            digests.add(record)
            self._known[record.id] = None
            yield record
        plain, masks = digests.finish()
        if self.header.digest not in ("", plain):
            raise ScoringError(
                f"{self.name}: the header states the digest {self.header.digest}, the records give {plain}"
            )
        self.header = replace(self.header, digest=plain, digest_masks=masks)

    def check_header(self, answers: PredictionFile, protocol: Protocol) -> None:
        """Refuse records of other tasks, and other records as far as the header states its digest.

        Raises:
            ScoringError: what the protocol scores is not what the records are for, or the digests differ.
        """
        if protocol.task not in self.header.task:
            fitting = [one.id for one in protocols().values() if one.task in self.header.task]
            raise ScoringError(
                f"{self.name} ({self.header.name}) are records for {', '.join(self.header.task)}, and "
                f"{protocol.id} scores {protocol.task}; protocols for these records: {', '.join(fitting)}"
            )
        if self._digest(protocol):
            self.check_found_digest(answers, protocol)

    def check_found_digest(self, answers: PredictionFile, protocol: Protocol) -> None:
        """Refuse predictions that were made for other records.

        Raises:
            ScoringError: the digests differ, or the predictions state none.
        """
        key = "records_digest_masks" if protocol.with_masks else "records_digest"
        stated, found = getattr(answers.header, key), self._digest(protocol)
        in_memory = not answers.path
        if stated == found or (in_memory and not stated):
            return
        where = f"{answers.path}:1: {key}" if answers.path else key
        if not stated:
            raise ScoringError(
                f"{where}: missing; if these predictions answer {self.name} ({self.header.name}), "
                f'put "{key}": "{found}" into the header'
            )
        raise ScoringError(
            f"{where}: the predictions answer {answers.header.records} with digest {stated}, but {self.name} "
            f"({self.header.name}) has {found}; score them against the records they were made for"
        )

    def _digest(self, protocol: Protocol) -> str:
        return self.header.digest_masks if protocol.with_masks else self.header.digest


class Pairing:
    """Hands a protocol one pair per scored record, and notes on the way what a protocol need not know."""

    def __init__(
        self, truth: Truth, answers: PredictionFile, samples: Samples | None, allow_partial: bool
    ) -> None:
        """Pair records and answers.

        Args:
            truth: the records.
            answers: the predictions.
            samples: is told of every pair, for breakdowns.
            allow_partial: leave unanswered records out.
        """
        self._truth = truth
        self._answers = answers
        self._allow_partial = allow_partial
        self._declared = array("d")
        self.partial = False
        self.expected = self._matched = 0
        self.doubt: str | None = None
        self.ids: list[str] = []
        self.answered: list[bool] = []
        self._images = Groups()
        self._samples = samples

    def __iter__(self) -> Iterator[tuple[Record, Prediction | None]]:
        total = self._truth.header.records or None
        for record in tqdm(self._truth, f"score {self._truth.header.name}", total, **BAR):
            self.expected += 1
            prediction = self._answers.predictions.get(record.id)
            if prediction is not None:
                self._matched += 1
            elif self._allow_partial:
                self.partial = True
                continue
            self._note(record, prediction)
            width, height = record.image.width, record.image.height
            answer = prediction and self._answers.in_pixels(prediction, width, height)
            if self._samples is not None:
                self._samples.add(record, answer)
            yield record, answer

    def _note(self, record: Record, prediction: Prediction | None) -> None:
        self.ids.append(record.id)
        self.answered.append(prediction is not None)
        self._images.add(record.image.file)
        if prediction is not None and prediction.boxes is not None and len(prediction.boxes):
            self._declared.extend((*prediction.boxes[0].tolist(), record.image.width, record.image.height))

    def __getstate__(self) -> dict[str, Any]:
        """What was noted travels between processes; where it comes from does not."""
        sources = ("_truth", "_answers", "_samples")
        return {name: value for name, value in self.__dict__.items() if name not in sources}

    def join(self, other: Pairing) -> None:
        """Take what was noted about another part of the records."""
        self.partial |= other.partial
        self.expected += other.expected
        self.ids += other.ids
        self.answered += other.answered
        self._matched += other._matched
        self._images.join(other._images)
        self._declared += other._declared

    def finish(self) -> None:
        """Check that the ids of both sides fit, and forget the predictions: a million of them are 600 MB.

        `doubt` is then the plausibility warning on the declared box space, None where there is none.

        Raises:
            ScoringError: no records, or ids that the records do not have.
        """
        if not self.expected:
            raise ScoringError(f"{self._truth.name}: there is no record to score")
        known, predictions = self._truth.ids, self._answers.predictions
        if len(known) != self.expected:
            raise ScoringError(f"{self._truth.name}: an id stands twice among the records")
        answers = self._answers.path or "the predictions"
        if self._matched != len(predictions):
            unknown = [identity for identity in predictions if identity not in known]
            raise ScoringError(
                f"{answers}: {len(unknown)} of {len(predictions)} ids are not in "
                f"{self._truth.name} ({self._truth.header.name}), such as {', '.join(map(repr, unknown[:3]))}"
            )
        if not self.ids:
            raise ScoringError(f"{answers}: no record is answered")
        boxes, sizes = np.hsplit(np.array(self._declared).reshape(-1, 6), (4,))
        self.doubt = implausible(boxes, sizes, self._answers.header.box)
        self._answers = replace(self._answers, predictions={})
        self._declared = array("d")

    def clusters(self) -> NDArray[np.int64]:
        """``(n,)`` number of the image of each scored record, counted in the order of the file names."""
        return self._images.codes()

    def images(self) -> list[str]:
        """File name of each image, by its number."""
        return self._images.labels
