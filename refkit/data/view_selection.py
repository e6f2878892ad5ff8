"""Which views of a region a model is shown: drawn by chance, fixed, or chosen by task or picture.

Zhao et al., "DynRefer", CVPR 2025, sections 3.1 and 3.3. In training the views are drawn; at inference they
are chosen. The first is the tight region (ratio 0) in every selection but `FixedViews`. Notation: ``R``
regions of one picture, ``V`` views of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, Protocol

import numpy as np

from refkit.data.arguments import require_choice
from refkit.data.view_hash import BITS, HASHES, CropHashes
from refkit.data.views import CANDIDATES, crop_boxes

PUBLISHED_PRIORS: dict[str, tuple[float, ...]] = {
    "attributes": (0.1,),
    "caption": (0.4,),
    "densecap": (0.4,),
}
"""Best ratio of the second view by task, from the paper's figure 4; for other tasks and further views it
states none (``tools/view_prior.py`` finds them)."""
_RATIOS = np.array((0.0, *CANDIDATES))


class ViewSelection(Protocol):
    """Chooses views of the regions of one picture."""

    def choose(
        self, image: np.ndarray, regions: np.ndarray, views: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Ratios ``(R, V)`` float64.

        Args:
            image: ``(H, W, 3)`` uint8 RGB.
            regions: ``(R, 4)`` xyxy pixels.
            views: ``V``.
            rng: source of all randomness.
        """
        ...


class RandomViews:
    """The region and ``V - 1`` of the ten candidates, without repetition, in any order: training's rule.

    Args:
        tight_first: begin with the region itself; False draws all views (table 7 of the paper, line 16).
    """

    def __init__(self, tight_first: bool = True) -> None:
        self.tight_first = tight_first

    def choose(
        self, image: np.ndarray, regions: np.ndarray, views: int, rng: np.random.Generator
    ) -> np.ndarray:
        """See `ViewSelection`; the picture is not looked at."""
        drawn = views - self.tight_first
        _require_candidates(drawn)
        order = rng.permuted(np.tile(CANDIDATES, (len(regions), 1)), axis=1)[:, :drawn]
        return _with_tight(order) if self.tight_first else order


class FixedViews:
    """The same views for every region.

    Args:
        ratios: of all views, the first included: ``[0, 0.4]`` is the region and one view around it, ``[1]``
            the whole picture alone.
    """

    def __init__(self, ratios: Sequence[float]) -> None:
        if not ratios or not all(isinstance(ratio, Real) and 0 <= ratio <= 1 for ratio in ratios):
            raise ValueError(f"fixed views {list(ratios)}: expected at least one ratio, all within [0, 1]")
        self.ratios = tuple(float(ratio) for ratio in ratios)

    def choose(
        self, image: np.ndarray, regions: np.ndarray, views: int, rng: np.random.Generator
    ) -> np.ndarray:
        """See `ViewSelection`; the picture is not looked at."""
        if len(self.ratios) != views:
            raise ValueError(f"fixed views {list(self.ratios)} are {len(self.ratios)}, the model has {views}")
        return np.tile(self.ratios, (len(regions), 1))


class TaskPrior:
    """The region and the views that are best for a task on average.

    Args:
        task: such as ``attributes``, ``caption``, ``densecap``, ``recognition``.
        priors: ratios of the second and further views by task; by default those published.
    """

    def __init__(self, task: str, priors: Mapping[str, Sequence[float]] | None = None) -> None:
        table = PUBLISHED_PRIORS if priors is None else priors
        if task not in table:
            raise ValueError(
                f"task_prior: no views are known for the task {task!r} (known: {', '.join(table)}); find "
                "them with tools/view_prior.py on a validation part and add them to `priors`"
            )
        self.task = task
        self.fixed = FixedViews((0.0, *table[task]))

    def choose(
        self, image: np.ndarray, regions: np.ndarray, views: int, rng: np.random.Generator
    ) -> np.ndarray:
        """See `ViewSelection`; the picture is not looked at."""
        known = len(self.fixed.ratios)
        if views > known:
            raise ValueError(
                f"task_prior: {known - 1} view(s) beside the region are known for the task {self.task!r}, "
                f"{views - 1} are asked for; find more with tools/view_prior.py and add them to `priors`"
            )
        return self.fixed.choose(image, regions, known, rng)[:, :views]


class ImagePrior:
    """The region and the views that tell most beside it, by the hashes of their pixels.

    ========== ==============================================================================================
    hash       score of a candidate ``t``
    ========== ==============================================================================================
    published  ``Hamming(t, region) / t``, the best first. A chosen candidate keeps its place with score 0, so
               that it is chosen again where all others have 0 too (a region that is the whole picture).
    phash      ``sum of Hamming(t, c) / t`` over all views ``c`` chosen so far, greedily, as the paper words
               it; no candidate twice.
    ========== ==============================================================================================

    Args:
        hash: see above and `refkit.data.view_hash`.
    """

    def __init__(self, hash: Literal["published", "phash"] = "published") -> None:
        self.hash = require_choice("hash", hash, tuple(HASHES))

    def choose(
        self, image: np.ndarray, regions: np.ndarray, views: int, rng: np.random.Generator
    ) -> np.ndarray:
        """See `ViewSelection`; nothing is random.

        Candidates are hashed from the smallest on, and only as long as one of those left could still be
        chosen: two hashes differ in 64 bits at most, so that a large ``t`` has no chance against a small one
        that differs much. The choice is that of all ten.
        """
        _require_candidates(views - 1)
        if views == 1:
            return np.zeros((len(regions), 1))
        hashes = CropHashes(image, self.hash)
        crops = crop_boxes(regions, _RATIOS, (image.shape[1], image.shape[0]))
        pick = rank_once if self.hash == "published" else pick_greedily
        bits = np.empty((len(regions), len(_RATIOS), BITS), bool)
        places = np.empty((len(regions), views - 1), np.int64)
        open_rows, seen = np.arange(len(regions)), 0
        while len(open_rows):
            start, seen = seen, min(max(seen, views) + 1, len(_RATIOS))
            bits[open_rows, start:seen] = hashes(crops[open_rows, start:seen])
            ranking = pick(_distances(bits[open_rows, :seen]), views - 1)
            places[open_rows] = ranking.places
            if seen == len(_RATIOS):
                break
            open_rows = open_rows[~ranking.final(_RATIOS[seen])]
        return _with_tight(np.asarray(CANDIDATES)[places])

    def candidate_bits(self, image: np.ndarray, regions: np.ndarray) -> np.ndarray:
        """Hashes ``(R, 11, 64)`` bool of the region and the ten candidates."""
        crops = crop_boxes(regions, _RATIOS, (image.shape[1], image.shape[0]))
        return CropHashes(image, self.hash)(crops)


@dataclass(frozen=True, slots=True)
class Ranking:
    """A choice among the first ``K`` candidates, and what would have changed it.

    Attributes:
        places: ``(R, count)`` int64 among the candidates, in the order of choosing; equal scores by place.
        scores: ``(R, count)`` of each when it was chosen.
        most: ``(R, count)`` differing bits that any candidate could have had then.
    """

    places: np.ndarray
    scores: np.ndarray
    most: np.ndarray

    def final(self, ratio: float) -> np.ndarray:
        """``(R,)`` bool: no candidate of this ratio or a greater one would be chosen."""
        return np.asarray((self.most / ratio <= self.scores).all(1))


def rank_once(distances: np.ndarray, count: int) -> Ranking:
    """Candidates by their distance to the region, over ``t``; the released code's rule.

    Args:
        distances: ``(R, 1 + K, 1 + K)`` differing bits between the region and the first ``K`` candidates.
        count: number of candidates to choose.
    """
    scores = distances[:, 0, 1:] / _RATIOS[1 : distances.shape[1]]
    chosen, best = np.empty((len(scores), count), np.int64), np.empty((len(scores), count))
    rows = np.arange(len(scores))
    for place in range(count):
        chosen[:, place] = scores.argmax(1)
        best[:, place] = scores[rows, chosen[:, place]]
        scores[rows, chosen[:, place]] = 0
    return Ranking(chosen, best, np.full(best.shape, BITS))


def pick_greedily(distances: np.ndarray, count: int) -> Ranking:
    """Like `rank_once`, but every choice counts the distances to all views chosen before it.

    Of two hashes that differ in ``d`` bits, a third differs in ``128 - d`` together at most; the mean over
    all pairs bounds what it can differ from all of them.
    """
    ratios = _RATIOS[1 : distances.shape[1]]
    totals = distances[:, 0, 1:].astype(np.float64)
    chosen, best = np.empty((len(totals), count), np.int64), np.empty((len(totals), count))
    most, apart = np.empty(best.shape), np.zeros(len(totals))
    rows = np.arange(len(totals))
    for place in range(count):
        scores = totals / ratios
        chosen[:, place] = last = scores.argmax(1)
        best[:, place] = scores[rows, last]
        most[:, place] = BITS * (place + 1) - apart / max(place, 1)
        apart += totals[rows, last]
        totals += distances[rows, last + 1, 1:]
        totals[rows, last] = -np.inf
    return Ranking(chosen, best, most)


def _distances(bits: np.ndarray) -> np.ndarray:
    """Differing bits between all hashes ``(R, K, 64)`` of a region: ``(R, K, K)``."""
    return (bits[:, :, None] != bits[:, None]).sum(3)


_BY_NAME: dict[str, type] = {
    "image_prior": ImagePrior,
    "task_prior": TaskPrior,
    "random": RandomViews,
    "fixed": FixedViews,
}


def build_selection(setting: str | Sequence[float] | Mapping[str, Any] | ViewSelection) -> ViewSelection:
    """The selection that a config names.

    Args:
        setting: ``"image_prior"``, ``"random"``, a list of ratios (`FixedViews`), or a dict with the name as
            ``type`` and its settings: ``dict(type="task_prior", task="attributes")``.

    Raises:
        ValueError: an unknown name, or settings that do not fit it.
    """
    if hasattr(setting, "choose"):
        return setting
    if isinstance(setting, Sequence) and not isinstance(setting, str):
        return FixedViews(setting)
    fields = {"type": setting} if isinstance(setting, str) else dict(setting)
    name = require_choice("selection", str(fields.pop("type", "")), tuple(_BY_NAME))
    try:
        built: ViewSelection = _BY_NAME[name](**fields)
    except TypeError as error:
        raise ValueError(f"selection {name!r}: {error}") from error
    return built


def _with_tight(ratios: np.ndarray) -> np.ndarray:
    return np.concatenate((np.zeros((len(ratios), 1)), ratios), axis=1)


def _require_candidates(count: int) -> None:
    if not 0 <= count <= len(CANDIDATES):
        raise ValueError(f"views: {count} of the {len(CANDIDATES)} candidates are asked for")
