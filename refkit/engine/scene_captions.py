"""How many captions of drawn objects are true: the rule-based check of the small DynRefer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric

from refkit.data.refshapes.region_captions import check_caption
from refkit.registry import METRICS
from refkit.structures import Prediction


@METRICS.register_module()
class SceneCaptionMetric(BaseMetric):
    """Shares of captions with the right shape, the right colour, a right place or relation, and all of them.

    Samples come from `RefShapesObjects`. A sample without a caption counts as wrong in everything, and as
    ``silent``.
    """

    default_prefix = "scene_caption"

    def process(self, data_batch: Any, data_samples: Sequence[Prediction]) -> None:
        """Check the captions of a batch.

        Raises:
            ValueError: a sample is not from `RefShapesObjects`.
        """
        for sample, prediction in zip(data_batch["data_samples"], data_samples, strict=True):
            if "scene" not in sample.meta:
                raise ValueError(
                    f"record {sample.id}: its scene is not known; SceneCaptionMetric is for RefShapesObjects"
                )
            caption = prediction.caption or ""
            check = check_caption(caption, sample.meta["scene"], sample.meta["object_index"])
            self.results.append((check.shape, check.colour, check.place, check.all, not caption))

    def compute_metrics(self, results: list[tuple[bool, ...]]) -> dict[str, float]:
        """Shares of ``results``, all samples of all processes."""
        names = ("shape", "colour", "place", "all", "silent")
        columns = zip(*results, strict=True)
        return {name: sum(column) / len(results) for name, column in zip(names, columns, strict=True)}
