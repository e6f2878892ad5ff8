"""Answers a records file with a model: in batches, in shards, again from where a killed run stopped."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from refkit.data.dataset import ReferringDataset
from refkit.data.record_file import RecordFile
from refkit.inference.shards import Shard
from refkit.leaderboard.predictions import PredictionHeader, PredictionWriter, load_predictions
from refkit.structures import Prediction


class PredictionRunError(ValueError):
    """Records cannot be answered as asked."""


class Answerer(Protocol):
    """What can answer records: an `Inferencer`, or a peer of another library."""

    @property
    def name(self) -> str:
        """What prediction files call it."""
        ...

    @property
    def checkpoint(self) -> str:
        """``sha256:…`` of its weights."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """What changes the answers, as JSON."""
        ...

    @property
    def reads_text(self) -> bool:
        """Whether a record without an expression cannot be answered."""
        ...

    @property
    def pipeline(self) -> Sequence[Any]:
        """The transforms of its inputs."""
        ...

    def predict(
        self, dataset: ReferringDataset, batch_size: int = ..., workers: int = ..., *, progress: bool = ...
    ) -> Iterator[Prediction]:
        """Predictions for the samples, in order."""
        ...


@dataclass(frozen=True, slots=True)
class PredictionRun:
    """How a records file is to be answered.

    Attributes:
        batch_size: records per forward pass.
        workers: processes that load pictures; 0 loads in this one.
        shard: which part of the file.
        limit: answer the first records of the file only.
        resume: continue an interrupted run.
        image_root: folder of the pictures; by default the one that the records name, below ``data_root``.
        data_root: by default ``REFKIT_DATA``, else ``data``.
        progress: whether to show a progress bar on stderr.
    """

    batch_size: int = 16
    workers: int = 0
    shard: Shard = field(default_factory=Shard)
    limit: int | None = None
    resume: bool = False
    image_root: Path | None = None
    data_root: Path | None = None
    progress: bool = False

    def execute(self, answerer: Answerer, records: RecordFile, out: str | os.PathLike[str]) -> Path:
        """Writes the prediction file of this run's shard.

        Args:
            answerer: the model.
            records: what to answer.
            out: name of the whole prediction file; a shard writes beside it.

        Returns:
            The file written, or found complete.

        Raises:
            PredictionRunError: a record has no expression, or an interrupted run is in the way.
            PredictionError: the interrupted run was one of another model, other settings or other records.
        """
        path = self.shard.path(out)
        header = self._header(answerer, records)
        if self.resume and path.is_file() and self._is_complete(path, header, records):
            return path
        self._refuse_to_discard(path)
        with PredictionWriter(path, header, self.resume) as writer:
            positions = [
                position for position in self._positions(records) if records[position].id not in writer.done
            ]
            dataset = self._dataset(answerer, records, positions)
            if dataset is not None:
                for prediction in answerer.predict(
                    dataset, self.batch_size, self.workers, progress=self.progress
                ):
                    writer.write([prediction])
        return path

    def _positions(self, records: RecordFile) -> range:
        total = len(records) if self.limit is None else min(self.limit, len(records))
        return self.shard.positions(total)

    def _dataset(
        self, answerer: Answerer, records: RecordFile, positions: list[int]
    ) -> ReferringDataset | None:
        """The records still to be answered; None where nothing is left."""
        for position in positions:
            if answerer.reads_text and not (records[position].text or "").strip():
                raise PredictionRunError(
                    f"{records.path}: record {records[position].id!r} has no expression, so there is "
                    "nothing to look for; answer a file whose records have 'text'."
                )
        if not positions:
            return None
        return ReferringDataset(
            records,
            self.image_root.resolve() if self.image_root else None,
            self.data_root,
            answerer.pipeline,
            indices=positions,
        )

    def _header(self, answerer: Answerer, records: RecordFile) -> PredictionHeader:
        header = PredictionHeader.answering(
            records.header, answerer.name, answerer.checkpoint, answerer.settings
        )
        shard = {"shard": f"{self.shard.index}/{self.shard.count}"} if self.shard.count > 1 else {}
        return replace(header, created=datetime.now(UTC).date().isoformat(), extra=shard)

    def _is_complete(self, path: Path, header: PredictionHeader, records: RecordFile) -> bool:
        """Whether the finished file already answers all that is asked for, with this model and settings."""
        found = load_predictions(path)
        same = replace(found.header, created="", made_by="") == replace(header, created="", made_by="")
        return (
            same
            and {records[position].id for position in self._positions(records)} <= found.predictions.keys()
        )

    def _refuse_to_discard(self, path: Path) -> None:
        partial = path.with_name(path.name + ".partial")
        if not self.resume and partial.is_file() and _holds_answers(partial):
            raise PredictionRunError(
                f"{partial}: an interrupted run left this; continue it with --resume, or delete the file."
            )


def _holds_answers(partial: Path) -> bool:
    """Whether more than the header was written before the interruption."""
    with partial.open("rb") as lines:
        return sum(1 for _ in itertools.islice(lines, 2)) > 1
