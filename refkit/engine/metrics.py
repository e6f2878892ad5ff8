"""The thin classes between MMEngine's evaluator and `refkit.metrics`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric

from refkit.data.schema import Record
from refkit.engine.answer_spool import AnswerSpool
from refkit.leaderboard.predictions import PredictionHeader, write_predictions
from refkit.metrics.protocol import Column, Evaluation, Protocol, get_protocol
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

    Predictions wait on disk (`AnswerSpool`), in the digits of a prediction file; those of all processes are
    gathered by sample id (MMEngine's gathering cuts the list to the length of the data set, which would hide
    duplicates). Records and predictions then pass the protocol one by one: of a mask, two areas are kept.

    Args:
        protocol: id of a protocol of `refkit.metrics`, or several, for a model that answers with boxes and
            masks at once: ``("rec/1", "res/1")``.
        by: also report the first metric per value of this entry of a record's ``facts`` (``"kind"``), or
            None.
        write: write ``predictions/<records>.jsonl`` in the work directory.
        prefix: of the metric names, for a single protocol; by default the family of the protocol (``rec``),
            and its whole id where two protocols are of one family (``res/padded-canvas``).

    Raises:
        ProtocolError: unknown protocol.
        ValueError: no protocol, one twice, or one prefix for several.
        EvaluationError: (when evaluating) a sample is missing, doubled or foreign.
    """

    def __init__(
        self,
        protocol: str | Sequence[str] = "rec/1",
        by: str | None = None,
        write: bool = True,
        prefix: str | None = None,
    ) -> None:
        self._protocols = _by_prefix((protocol,) if isinstance(protocol, str) else tuple(protocol), prefix)
        super().__init__(prefix=prefix or next(iter(self._protocols)))
        self._by = by
        self._write = write
        self._context: EvaluationContext | None = None
        self._answers = AnswerSpool()

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
        for prediction in data_samples:
            self._answers.add(prediction)

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather, check and score; the same result on every process.

        Args:
            size: samples of the whole data set.
        """
        answers, self._answers = self._answers, AnswerSpool()
        answers.gather()
        shared: list[Any] = [None]
        if is_main_process():
            shared = [self.compute_metrics(answers)]
        answers.close()
        broadcast_object_list(shared)
        return shared[0]

    def compute_metrics(self, answers: AnswerSpool) -> dict[str, float]:
        """Metrics of every protocol, ``invalid``, and the first metric per group where ``by`` is set."""
        if self._context is None:
            raise EvaluationError(
                "ProtocolMetric works inside EvalLoop or FinalEvalLoop: set val_cfg/test_cfg to them"
            )
        dataset = self._context.dataset
        described = [(record.id, self._group(record)) for record in _records(dataset)]
        check_ids([key for key, _ in described], answers)
        if self._write:
            self._write_file(answers[key] for key, _ in described)
        groups = [group for _, group in described] if self._by else []
        values: dict[str, float] = {}
        for prefix, protocol in self._protocols.items():
            evaluation = protocol.evaluate((record, answers[record.id]) for record in _records(dataset))
            named = {name: column.value for name, column in evaluation.columns.items()}
            named["invalid"] = Column.mean(evaluation.invalid).value
            named |= _per_group(evaluation, groups)
            values |= {f"{prefix}/{name}": value for name, value in named.items()}
        return values

    def _group(self, record: Record) -> str:
        return str((record.facts or {}).get(self._by, "unknown")) if self._by else ""

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


def _by_prefix(ids: tuple[str, ...], prefix: str | None) -> dict[str, Protocol]:
    """Protocols by the first part of their metrics' names."""
    if not ids or len(set(ids)) < len(ids) or (prefix and len(ids) > 1):
        raise ValueError(
            f"protocol={ids}, prefix={prefix!r}: expected different protocols, and a prefix for one alone"
        )
    families = Counter(name.partition("/")[0] for name in ids)
    names = {name: name.partition("/")[0] for name in ids}
    if prefix:
        return {prefix: get_protocol(ids[0])}
    return {
        family if families[family] == 1 or name == f"{family}/1" else name: get_protocol(name)
        for name, family in names.items()
    }


def _records(dataset: Any) -> Iterator[Record]:
    return (dataset.record(index) for index in range(len(dataset)))


def _per_group(evaluation: Evaluation, groups: Sequence[str]) -> dict[str, float]:
    """The first metric over the samples of every group."""
    name, column = next(iter(evaluation.columns.items()))
    labels = np.array(groups, dtype=object)
    return {f"{name}/{group}": column.within(labels == group).value for group in sorted(set(groups))}


def check_ids(wanted: Sequence[str], answers: AnswerSpool) -> None:
    """Whether there is exactly one prediction per record.

    Args:
        wanted: ids of the records.
        answers: the predictions.

    Raises:
        EvaluationError: there is not.
    """
    known = set(wanted)
    problems = {
        "predicted more than once": answers.doubled,
        "not predicted": [key for key in wanted if key not in answers],
        "not in the data set": [key for key in answers if key not in known],
    }
    found = [f"{len(keys)} {what} (such as {min(keys)!r})" for what, keys in problems.items() if keys]
    if found:
        raise EvaluationError(f"of {len(wanted)} samples: {'; '.join(found)}. Is the sampler an exact one?")
