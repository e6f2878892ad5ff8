"""The thin classes between MMEngine's evaluator and `refkit.metrics`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import broadcast_object_list, gather_object, is_main_process
from mmengine.evaluator import BaseMetric

from refkit.data.schema import Record
from refkit.leaderboard.predictions import PredictionHeader, as_written, write_predictions
from refkit.metrics.protocol import Column, Evaluation, get_protocol
from refkit.registry import METRICS
from refkit.structures import Prediction


class EvaluationError(RuntimeError):
    """The gathered predictions are not exactly one per sample of the data set."""


@dataclass(frozen=True)
class EvaluationContext:
    """What a metric must know besides predictions; the evaluation loop fills it in.

    Attributes:
        dataset: has ``record(index)``, a length and ``metainfo`` (``name``, ``digest``, ``digest_masks``).
        work_dir: of the run.
        model: name of the model's class.
        precision: number format of the forward pass.
        checkpoint: ``sha256:…`` of the evaluated weights, empty during training.
    """

    dataset: Any
    work_dir: str
    model: str
    precision: str
    checkpoint: str = ""


@METRICS.register_module()
class ProtocolMetric(BaseMetric):
    """Scores predictions against the records of the data set, exactly as ``refkit score`` scores their file.

    Predictions of all processes are gathered by sample id (MMEngine's gathering cuts the list to the length
    of the data set, which would hide duplicates), rounded as a prediction file rounds them, and scored by
    the protocol.

    Args:
        protocol: id of a protocol of `refkit.metrics`.
        by: also report the first metric per value of this entry of a record's ``facts`` (``"kind"``), or
            None.
        write: write ``predictions/<records>.jsonl`` in the work directory.
        prefix: of the metric names; by default the family of the protocol (``rec``).

    Raises:
        ProtocolError: unknown protocol.
        EvaluationError: (when evaluating) a sample is missing, doubled or foreign.
    """

    def __init__(
        self, protocol: str = "rec/1", by: str | None = None, write: bool = True, prefix: str | None = None
    ) -> None:
        self._protocol = get_protocol(protocol)
        super().__init__(prefix=prefix or protocol.partition("/")[0])
        self._by = by
        self._write = write
        self._context: EvaluationContext | None = None
        self.results: list[Prediction] = []

    def use_context(self, context: EvaluationContext) -> None:
        """Learn what is being evaluated; called by the evaluation loop before the first batch."""
        self._context = context

    def process(self, data_batch: Any, data_samples: Sequence[Prediction]) -> None:
        """Keep the predictions of a batch, one per sample."""
        expected = len(data_batch["data_samples"])
        if len(data_samples) != expected:
            raise EvaluationError(
                f"the model gave {len(data_samples)} predictions for a batch of {expected} samples"
            )
        self.results.extend(data_samples)

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather, check and score; the same result on every process.

        Args:
            size: samples of the whole data set.
        """
        parts = gather_object(self.results, dst=0)
        self.results = []
        shared: list[Any] = [None]
        if is_main_process():
            results = [prediction for part in parts for prediction in part]
            named = self.compute_metrics(results)
            shared = [{f"{self.prefix}/{name}": value for name, value in named.items()}]
        broadcast_object_list(shared)
        return shared[0]

    def compute_metrics(self, results: list[Prediction]) -> dict[str, float]:
        """Metrics of the protocol, ``invalid``, and the first metric per group where ``by`` is set."""
        if self._context is None:
            raise EvaluationError(
                "ProtocolMetric works inside EvalLoop or FinalEvalLoop: set val_cfg/test_cfg to them"
            )
        dataset = self._context.dataset
        records = [dataset.record(index) for index in range(len(dataset))]
        answers = match_by_id(records, results)
        if self._write:
            self._write_file(answers.values())
        rounded = [(record, as_written(answers[record.id])) for record in records]
        evaluation = self._protocol.evaluate(rounded)
        values = {name: column.value for name, column in evaluation.columns.items()}
        values["invalid"] = Column.mean(evaluation.invalid).value
        return values | self._per_group(records, evaluation)

    def _per_group(self, records: Sequence[Record], evaluation: Evaluation) -> dict[str, float]:
        if self._by is None:
            return {}
        name, column = next(iter(evaluation.columns.items()))
        members: dict[str, list[int]] = {}
        for position, record in enumerate(records):
            members.setdefault(str((record.facts or {}).get(self._by, "unknown")), []).append(position)
        everyone = np.arange(len(records))
        return {
            f"{name}/{group}": column.within(np.isin(everyone, places)).value
            for group, places in sorted(members.items())
        }

    def _write_file(self, predictions: Iterable[Prediction]) -> None:
        assert self._context is not None
        about = self._context.dataset.metainfo
        header = PredictionHeader(
            records=about["name"],
            records_digest=about.get("digest", ""),
            records_digest_masks=about.get("digest_masks", ""),
            model=self._context.model,
            checkpoint=self._context.checkpoint,
            settings={"precision": self._context.precision},
        )
        path = Path(self._context.work_dir) / "predictions" / f"{about['name']}.jsonl"
        write_predictions(path, header, predictions)


@METRICS.register_module()
class RECMetric(ProtocolMetric):
    """`ProtocolMetric` with the protocol ``rec/1``: Acc@0.5, @0.75, @0.9, mean accuracy, mean IoU."""


def match_by_id(records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Prediction]:
    """Predictions in the order of the records.

    Raises:
        EvaluationError: not exactly one prediction per record.
    """
    counts = Counter(prediction.id for prediction in predictions)
    wanted = {record.id for record in records}
    doubled = [key for key, count in counts.items() if count > 1]
    missing = [key for key in wanted if key not in counts]
    foreign = [key for key in counts if key not in wanted]
    problems = {"predicted more than once": doubled, "not predicted": missing, "not in the data set": foreign}
    found = [f"{len(keys)} {what} (such as {sorted(keys)[0]!r})" for what, keys in problems.items() if keys]
    if found:
        raise EvaluationError(f"of {len(records)} samples: {'; '.join(found)}. Is the sampler an exact one?")
    by_id = {prediction.id: prediction for prediction in predictions}
    return {record.id: by_id[record.id] for record in records}
