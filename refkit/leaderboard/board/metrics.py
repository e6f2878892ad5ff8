"""How the metrics of a leaderboard are called and written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from refkit.leaderboard.entries.seed import IN_POINTS
from refkit.metrics.protocol import protocols


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


_FULL_NAMES = {"miou": "mean IoU (mIoU)", "oiou": "overall IoU (oIoU)", "judge": "judge's points"}
"""Where a short label has led to mix-ups in published tables, or no protocol has one."""


@cache
def _labels() -> dict[str, str]:
    return {name: label for protocol in protocols().values() for name, label in protocol.labels.items()}


@cache
def _places() -> dict[str, int]:
    """A protocol names its metrics in the order of their importance."""
    places: dict[str, int] = {}
    for protocol in protocols().values():
        for place, name in enumerate(protocol.labels):
            places[name] = min(place, places.get(name, place))
    return places


def metric_style(name: str) -> MetricStyle:
    """The style of any metric; one that is not known keeps its name."""
    label = _FULL_NAMES.get(name) or _labels().get(name, name)
    return MetricStyle(label, 1.0, 1) if name in IN_POINTS else MetricStyle(label)


def in_order(names: Iterable[str]) -> list[str]:
    """Metrics with the most important first."""
    places = _places()
    return sorted(set(names), key=lambda name: (places.get(name, len(places)), name))
