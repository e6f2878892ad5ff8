"""Dense captions: regions are answered one by one and scored by picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from refkit.engine.answer_spool import AnswerSpool
from refkit.engine.metrics import EvaluationError, ProtocolMetric, check_ids
from refkit.registry import METRICS


@METRICS.register_module()
class DenseCaptionMetric(ProtocolMetric):
    """`ProtocolMetric` for the data set `DenseRegions`: the answers to a picture's regions become one
    prediction, which the protocol (``densecap/python`` or ``densecap/lua``) scores.
    """

    def compute_metrics(self, answers: AnswerSpool) -> dict[str, float]:
        """See `ProtocolMetric.compute_metrics`.

        Raises:
            EvaluationError: the data set has no regions, or an answer is missing, doubled or foreign.
        """
        context = self._context
        regions: Any = None if context is None else context.dataset
        if context is None or not hasattr(regions, "pictures"):
            raise EvaluationError("DenseCaptionMetric scores the answers to a DenseRegions data set")
        by_picture = [regions.ids(picture) for picture in range(len(regions.pictures))]
        check_ids([name for names in by_picture for name in names], answers)
        merged = AnswerSpool()
        for picture, names in enumerate(by_picture):
            merged.add(regions.merge(picture, [answers[name] for name in names]))
        self._context = replace(context, dataset=regions.pictures)
        try:
            return super().compute_metrics(merged)
        finally:
            self._context = context
            merged.close()
