"""How the metrics of a leaderboard are called and written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from refkit.leaderboard.entries.seed import IN_POINTS


@dataclass(frozen=True, slots=True)
class MetricStyle:
    """Label and scale of a metric.

    Attributes:
        label: for a heading.
        scale: printed = value * scale; 100 for shares, 1 for points.
        decimals: of the printed number.
    """

    label: str
    scale: float = 100.0
    decimals: int = 2

    def text(self, value: float) -> str:
        """The printed number."""
        return f"{value * self.scale:.{self.decimals}f}"


_LABELS = {
    "acc50": "Acc@0.5",
    "acc": "Acc@0.5",
    "miou": "mean IoU",
    "oiou": "overall IoU",
    "giou": "gIoU (mean)",
    "ciou": "cIoU (overall)",
    "cider": "CIDEr-D",
    "meteor": "METEOR",
    "rouge_l": "ROUGE-L",
    "bleu4": "BLEU-4",
    "map": "mAP",
    "map_head": "mAP head",
    "map_medium": "mAP medium",
    "map_tail": "mAP tail",
    "accuracy": "top-1 accuracy",
    "judge": "judge's points",
    "acc75": "Acc@0.75",
    "acc90": "Acc@0.9",
    "macc": "mAcc .50:.95",
}
"""In the order of importance: the first metric of a data set is the one shown first."""


def metric_style(name: str) -> MetricStyle:
    """The style of any metric; one that is not known keeps its name."""
    label = _LABELS.get(name, name)
    return MetricStyle(label, 1.0, 1) if name in IN_POINTS else MetricStyle(label)


def in_order(names: Iterable[str]) -> list[str]:
    """Metrics with the most important first."""
    places = {name: place for place, name in enumerate(_LABELS)}
    return sorted(set(names), key=lambda name: (places.get(name, len(places)), name))
