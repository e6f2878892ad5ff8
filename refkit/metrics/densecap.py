"""Dense captioning: boxes with captions, in the dialect of the Lua evaluator and of its Python port.

A record is a picture: its targets are the annotated regions, ``references`` holds one caption per region. An
answer holds ``boxes``, ``scores`` and one of ``captions`` per box. Source: §2.7 of the evaluation
specification. Notation: ``d`` detections, ``m`` merged regions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from refkit.metrics.average_precision import interpolated_hits
from refkit.metrics.boxes import as_boxes, paired_iou, valid_boxes
from refkit.metrics.drawn_precision import DrawnInterpolated
from refkit.metrics.grec import all_pairs, annotated_boxes
from refkit.metrics.java_tools import CaptionToolError
from refkit.metrics.meteor import VERSION as METEOR
from refkit.metrics.meteor import meteor_counts, meteor_score
from refkit.metrics.protocol import Corpus, Evaluation, Protocol, ProtocolError, register
from refkit.metrics.tokens import one_line

if TYPE_CHECKING:
    from refkit.data.records import Record
    from refkit.structures import Prediction

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Pair = tuple[float, float]
Recalls = NDArray[np.float64] | NDArray[np.float32]

MERGE = 0.7
OVERLAPS = (0.3, 0.4, 0.5, 0.6, 0.7)
LANGUAGE = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)
ANY_WORDS = -1.0
# The Lua loop adds 0.01 again and again; its sums pass 1 before a 101st point.
LUA_RECALLS = np.add.accumulate(np.full(100, 0.01)) - 0.01
PYTHON_RECALLS = np.arange(100) / 100


def single_recalls() -> NDArray[np.float32]:
    """``(100,)`` the points 0 … 0.99 as ``torch.arange(0, 1, 0.01)`` makes them in single precision.

    It fills eight at a time from a rounded first one and the last four one by one, so that 19 points are one
    unit in the last place away from the nearest number, and a recall that equals a point may miss it.
    """
    point = np.arange(100)
    first = (point // 8 * 8 * 0.01).astype(np.float32).astype(np.float64)
    return np.where(point < 96, first + point % 8 * 0.01, point * 0.01).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one evaluator does.

    Attributes:
        id: of the protocol.
        text: its definition.
        overlap: of paired boxes.
        recalls: rising recall points.
        last_box: a detection that overlaps nothing claims the last region if that is free.
        skip_empty: an answer without any box takes its picture out of the evaluation.
    """

    id: str
    text: str
    overlap: Callable[[Floats, Floats], Floats]
    recalls: Recalls
    last_box: bool
    skip_empty: bool


@dataclass(frozen=True, eq=False)
class Matches:
    """What became of ``d`` detections, by falling score within a picture.

    Attributes:
        pictures: ``(d,)`` number of the record of each.
        scores: ``(d,)``.
        overlaps: ``(d,)`` with the region that it looked at; 0 without one.
        claims: ``(d,)`` bool, the region was free.
        words: ``(d,)`` language score; 0 where none is needed, see `may_be_right`.
        regions: ``(n,)`` number of merged regions of each record that count.
    """

    pictures: Ints
    scores: Floats
    overlaps: Floats
    claims: Bools
    words: Floats
    regions: Floats

    def average_precisions(self, counts: Floats, pairs: Sequence[Pair], recalls: Recalls) -> list[float]:
        """At pairs of thresholds, with records counted ``(n,)`` times."""
        ranked, positives = self._ranked, float(counts @ self.regions)
        times = counts[ranked.pictures]
        shown = np.cumsum(times)
        return [
            interpolated_hits(np.cumsum(times[hits]), shown[hits], positives, recalls)
            for hits in (np.flatnonzero(ranked.right(*pair)) for pair in pairs)
        ]

    def drawn(self, pairs: Sequence[Pair], recalls: Recalls) -> DrawnInterpolated:
        """The mean of `average_precisions` in many draws."""
        ranked = self._ranked
        right = np.array([ranked.right(*pair) for pair in pairs])
        return DrawnInterpolated(ranked.pictures, right, self.regions, recalls)

    def right(self, overlap: float, words: float) -> Bools:
        """``(d,)`` which detections are right at a pair of thresholds."""
        found = self.claims & (self.overlaps >= overlap)
        return found if words == ANY_WORDS else found & (self.words > words)

    @cached_property
    def _ranked(self) -> Matches:
        """The same by falling score over all pictures, sorted once for all thresholds."""
        order = np.argsort(-self.scores, kind="stable")
        return replace(
            self,
            pictures=self.pictures[order],
            scores=self.scores[order],
            overlaps=self.overlaps[order],
            claims=self.claims[order],
            words=self.words[order],
        )


def plus_one_iou(a: Floats, b: Floats) -> Floats:
    """``(n,)`` IoU of boxes that are one pixel wider and higher than their corners say (Lua evaluator)."""
    grown_a, grown_b = (np.concatenate((boxes[:, :2], boxes[:, 2:] + 1.0), axis=1) for boxes in (a, b))
    return paired_iou(grown_a, grown_b)


def merge_regions(
    boxes: Floats, captions: Sequence[str], overlap: Callable[[Floats, Floats], Floats]
) -> tuple[Floats, list[list[str]]]:
    """Regions with IoU >= 0.7 become one: mean box, all captions.

    The region with the most such neighbours takes them first, the first of equals.

    Args:
        boxes: ``(k, 4)``.
        captions: ``k`` texts.
        overlap: of paired boxes.

    Returns:
        ``(m, 4)`` boxes and the captions of each.
    """
    near = all_pairs(boxes, boxes, overlap) >= MERGE
    np.fill_diagonal(near, True)
    merged, texts = [], []
    while near.any():
        members = np.flatnonzero(near[np.argmax(near.sum(axis=0))])
        merged.append(boxes[members].mean(axis=0))
        texts.append([captions[member] for member in members.tolist()])
        near[members, :] = near[:, members] = False
    return as_boxes(merged), texts


def look_at(overlaps: Floats, last_box: bool) -> tuple[Ints, Bools]:
    """Which region each detection looks at, and whether it claims it.

    Args:
        overlaps: ``(d, m)`` of detections by falling score.
        last_box: a detection that overlaps nothing looks at the last region, as index -1 does.

    Returns:
        ``(d,)`` index of the region of highest overlap, the first of equals, -1 without one; ``(d,)`` bool.
    """
    d, m = overlaps.shape
    best = np.where(overlaps.max(axis=1, initial=0.0) > 0, np.argmax(overlaps, axis=1) if m else -1, -1)
    claims, free = np.zeros(d, bool), [True] * m
    for row, region in enumerate(best.tolist()):
        if m and (region >= 0 or last_box):
            claims[row], free[region] = free[region], False
    return best, claims


@dataclass(slots=True)
class Collected:
    """Detections of all pictures, and the texts that are still to be compared: those that `may_be_right`."""

    parts: list[tuple[Ints, Floats, Floats, Bools]] = field(default_factory=list)
    candidates: list[str] = field(default_factory=list)
    references: list[list[str]] = field(default_factory=list)
    regions: list[float] = field(default_factory=list)
    invalid: list[bool] = field(default_factory=list)

    def add(self, record: Record, prediction: Prediction | None, dialect: Dialect) -> None:
        """One picture."""
        boxes, texts = merge_regions(annotated_boxes(record), region_captions(record), dialect.overlap)
        detections = usable_detections(prediction)
        skipped = dialect.skip_empty and detections is not None and not len(detections[0])
        self.regions.append(0.0 if skipped else float(len(boxes)))
        self.invalid.append(prediction is not None and detections is None)
        if detections is None or skipped:
            return
        found, scores, captions = detections
        overlaps = all_pairs(found, boxes, dialect.overlap)
        best, claims = look_at(overlaps, dialect.last_box)
        seen = overlaps.max(axis=1, initial=0.0)
        self.parts.append((np.full(len(found), len(self.regions) - 1), scores, seen, claims))
        compared = np.flatnonzero(may_be_right(seen, claims))
        self.candidates += [captions[row] for row in compared.tolist()]
        self.references += [texts[region] for region in best[compared].tolist()]

    def matches(self, told: Floats) -> Matches:
        """Everything with the language scores of the candidates."""
        empty = (np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0, bool))
        pictures, scores, overlaps, claims = (
            np.concatenate(part) for part in zip(*(self.parts or [empty]), strict=True)
        )
        words = np.zeros(len(scores))
        words[may_be_right(overlaps, claims)] = told
        return Matches(pictures, scores, overlaps, claims, words, np.array(self.regions))


def may_be_right(overlaps: Floats, claims: Bools) -> Bools:
    """``(d,)`` which detections could be right at some threshold: of no others do the words matter."""
    return claims & (overlaps >= min(OVERLAPS))


def region_captions(record: Record) -> list[str]:
    """The caption of each target.

    Raises:
        ProtocolError: not one caption per target.
    """
    references = record.references or []
    if len(references) != len(record.targets):
        raise ProtocolError(
            f"record {record.id!r} has {len(references)} references for {len(record.targets)} targets; dense "
            "captioning needs one caption per region"
        )
    return [one_line(text) for text in references]


def usable_detections(prediction: Prediction | None) -> tuple[Floats, Floats, list[str]] | None:
    """Boxes, scores and captions by falling score, without broken boxes; None where there is no answer.

    Equal scores keep their order; without scores the order given is the ranking.
    """
    if (
        prediction is None
        or prediction.boxes is None
        or prediction.captions is None
        or prediction.status != "ok"
    ):
        return None
    boxes = as_boxes(prediction.boxes)
    if len(prediction.captions) != len(boxes):
        return None
    ranked = np.arange(len(boxes), 0.0, -1.0) if prediction.scores is None else np.asarray(prediction.scores)
    order = np.argsort(-ranked, kind="stable")
    order = order[valid_boxes(boxes)[order]]
    captions = [one_line(prediction.captions[place]) for place in order.tolist()]
    return boxes[order], ranked[order].astype(np.float64), captions


def language_scores(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """``(d,)`` METEOR of each caption; 0 without references.

    Raises:
        CaptionToolError: METEOR is not installed or failed.
    """
    return meteor_score(meteor_counts(candidates, references)) if candidates else np.zeros(0)


def evaluate(pairs: Iterable[tuple[Record, Prediction | None]], dialect: Dialect) -> Evaluation:
    """A dialect over records and predictions."""
    collected = Collected()
    for record, prediction in pairs:
        collected.add(record, prediction, dialect)
    warnings: tuple[str, ...] = ()
    try:
        words = language_scores(collected.candidates, collected.references)
    except CaptionToolError as error:
        words = np.full(len(collected.candidates), np.nan)
        warnings = (f"only the detection mAP is reported, because METEOR cannot run: {error}",)
    return _evaluation(collected, collected.matches(words), dialect, warnings)


def _evaluation(
    collected: Collected, matches: Matches, dialect: Dialect, warnings: tuple[str, ...]
) -> Evaluation:
    n = len(collected.regions)
    columns = {
        "map": mean_average_precision(matches, n, LANGUAGE, dialect.recalls),
        "detection_map": mean_average_precision(matches, n, (ANY_WORDS,), dialect.recalls),
    }
    rows = {"regions": matches.regions, "claims": np.bincount(matches.pictures, matches.claims, n)}
    details = {}
    if n and not warnings:
        pairs = threshold_pairs(LANGUAGE)
        values = matches.average_precisions(np.ones(n), pairs, dialect.recalls)
        details["average precision"] = {
            f"IoU {overlap} METEOR {words}": value
            for (overlap, words), value in zip(pairs, values, strict=True)
        }
    tools = {} if warnings else {"meteor": METEOR}
    return Evaluation(columns, np.array(collected.invalid, bool), rows, details, warnings, tools)


def threshold_pairs(words: Sequence[float]) -> list[Pair]:
    """All pairs of an IoU threshold and one of the language thresholds."""
    return [(overlap, least) for overlap in OVERLAPS for least in words]


def mean_average_precision(matches: Matches, n: int, words: Sequence[float], recalls: Recalls) -> Corpus:
    """Mean over all pairs of an IoU threshold and a language threshold; NaN without language scores."""
    if np.isnan(matches.words).any() and words != (ANY_WORDS,):
        return Corpus(n, lambda counts: math.nan)
    pairs = threshold_pairs(words)

    def weighted(counts: Floats) -> float:
        return math.fsum(matches.average_precisions(counts, pairs, recalls)) / len(pairs)

    return Corpus(n, weighted, part=lambda members: matches.drawn(pairs, recalls)(members))


RULES = """\
Annotated regions with IoU >= 0.7 are merged first (mean box, all captions as references; the region with the
most such neighbours first). Detections are visited by falling score within a picture; each looks at the
merged region of highest IoU and claims it if it is still free. Over all pictures by falling score, a
detection is right when IoU >= t, it made the claim and METEOR > s. Average precision = mean over 100 recall
points (0.00, 0.01 ... 0.99) of the highest precision at recall >= that point. mAP = mean over IoU t in .3 .4
.5 .6 .7 and METEOR s in 0 .05 .1 .15 .2 .25; detection mAP = mean over t, whatever the words. METEOR 1.5 of
each caption as it is, without another tokeniser. Reversed and non-finite boxes are left out."""
PORT_RULES = """\
the Python port that ControlCap and DynRefer use. IoU in continuous coordinates; a detection
that overlaps nothing claims nothing; a picture that is answered without any detection is left out together
with its regions, as the port does (a picture without an answer counts)."""
DIALECTS = (
    Dialect(
        "densecap/python",
        f"densecap/python: {PORT_RULES} {RULES}",
        paired_iou,
        PYTHON_RECALLS,
        last_box=False,
        skip_empty=True,
    ),
    Dialect(
        "densecap/python-float32",
        f"""\
densecap/python-float32: densecap/python to the last digit of the released code, which compares recalls with
the recall points in single precision; that moves mAP by up to 0.1 points on a few pictures and by nothing on
a whole test part. {PORT_RULES} {RULES}""",
        paired_iou,
        single_recalls(),
        last_box=False,
        skip_empty=True,
    ),
    Dialect(
        "densecap/lua",
        f"""\
densecap/lua: the evaluator of DenseCap (2016). Box sides count one pixel more than the difference of their
corners; a detection that overlaps nothing looks up index -1 and so claims the last merged region if it is
free; the recall points are sums of 0.01; every picture counts. The test texts of that line replace rare words
by <UNK>, which is a matter of the records. {RULES}""",
        plus_one_iou,
        LUA_RECALLS,
        last_box=True,
        skip_empty=False,
    ),
)

for _dialect in DIALECTS:
    register(
        Protocol(
            id=_dialect.id,
            text=_dialect.text,
            evaluate=partial(evaluate, dialect=_dialect),
            labels={"map": "mAP", "detection_map": "detection mAP"},
            task="densecap",
            answer="captions",
        )
    )
