"""The views that are best for a task, found on validation data: what `tools/view_prior.py` does.

The paper states one ratio for some tasks; for others, and for more views, refkit looks itself and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refkit.data.views import CANDIDATES
from refkit.engine.config import ConfigError, RefkitConfig
from refkit.engine.launch import test

Ratios = tuple[float, ...]
_TRANSFORM = "RegionViews"


@dataclass(slots=True)
class ViewSearch:
    """What a search tried.

    Attributes:
        best: ratios of the views after the first.
        tried: score by ratios, in the order of trying.
    """

    best: Ratios
    tried: dict[Ratios, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Of the best ratios."""
        return self.tried[self.best]


def search_views(
    score: Callable[[Ratios], float],
    views: int,
    candidates: Sequence[float] = CANDIDATES,
    rounds: int = 3,
) -> ViewSearch:
    """The ratios with the highest score, one place after the other while the others stay as they are.

    With two views all candidates are compared. With more, every place is tried in turn until a round changes
    nothing: a local optimum, at a small part of the cost of all combinations. Of equal scores the one tried
    first stays.

    Args:
        score: of the ratios of the views after the first; each combination is asked for once.
        views: of the model, the first included; at least 2.
        candidates: to choose among, without repetition.
        rounds: at most.

    Raises:
        ValueError: fewer than two views, or more than there are candidates.
    """
    if not 2 <= views <= len(candidates) + 1:
        raise ValueError(f"views={views}: expected 2 to {len(candidates) + 1} to search the best")
    search = ViewSearch(tuple(candidates[: views - 1]))
    search.tried[search.best] = score(search.best)
    for _ in range(rounds):
        before = search.best
        for place in range(views - 1):
            _try_place(search, score, place, candidates)
        if search.best == before or views == 2:
            break
    return search


def _try_place(
    search: ViewSearch, score: Callable[[Ratios], float], place: int, candidates: Sequence[float]
) -> None:
    held = search.best[:place], search.best[place + 1 :]
    for ratio in candidates:
        if ratio in (*held[0], *held[1]):
            continue
        ratios = (*held[0], ratio, *held[1])
        if ratios not in search.tried:
            search.tried[ratios] = score(ratios)
        if search.tried[ratios] > search.score:
            search.best = ratios


def views_of(config: RefkitConfig) -> int:
    """Views of the model that validation shows.

    Raises:
        ConfigError: validation shows none.
    """
    return int(_transforms(config)[0].get("views", 3))


def score_views(
    config: RefkitConfig, weights: str | Path, ratios: Ratios, metric: str, work_dir: Path
) -> float:
    """The metric of weights on the validation data of a config, shown the region and views of these ratios.

    Args:
        config: changed in place: its selection of views, and its test data, which become the validation data.
        weights: a checkpoint or weights file.
        ratios: of the views after the first.
        metric: its name among those of the evaluation.
        work_dir: predictions go to a folder of their own below it.

    Raises:
        ConfigError: validation shows no views, or has no such metric.
    """
    for transform in _transforms(config):
        transform["selection"] = [0.0, *ratios]
    config.val_dataloader["persistent_workers"] = False  # each evaluation has workers of its own
    config.test_dataloader = None
    found = test(config, weights, work_dir / "-".join(f"{ratio:g}" for ratio in ratios))
    if metric not in found:
        raise ConfigError(f"{config.filename}: no metric {metric!r}; there are {', '.join(sorted(found))}")
    return float(found[metric])


def _transforms(config: RefkitConfig) -> list[Any]:
    """All `RegionViews` of the validation data, however deep they stand."""
    found = list(_within(config.get("val_dataloader") or {}))
    if not found:
        raise ConfigError(f"{config.filename}: val_dataloader has no {_TRANSFORM} whose views to choose")
    return found


def _within(node: Any) -> list[Any]:
    if isinstance(node, dict):
        own = [node] if getattr(node.get("type"), "__name__", node.get("type")) == _TRANSFORM else []
        return own + [found for value in node.values() for found in _within(value)]
    if isinstance(node, list | tuple):
        return [found for value in node for found in _within(value)]
    return []
