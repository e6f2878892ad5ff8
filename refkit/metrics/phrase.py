"""Phrase grounding (Flickr30k Entities): recall of ranked boxes for phrases that may own several boxes.

Source: §2.5 of the evaluation specification. A record is a phrase, its targets are the boxes of its
coreference chain; phrases without a box are not imported.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from refkit.metrics.boxes import as_boxes, valid_boxes
from refkit.metrics.grec import all_pairs, annotated_boxes
from refkit.metrics.protocol import Column, Evaluation, Protocol, ProtocolError, register

if TYPE_CHECKING:
    from refkit.data.records import Record
    from refkit.structures import Prediction

Floats = NDArray[np.float64]

THRESHOLD = 0.5
RANKS = (1, 5, 10)
NEVER = np.iinfo(np.int64).max


def enclosing(boxes: Floats) -> Floats:
    """``(1, 4)`` the smallest box around ``(m, 4)`` boxes."""
    return np.concatenate((boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)))[None]


def ranked_boxes(prediction: Prediction | None) -> Floats:
    """``(k, 4)`` boxes of an answer, best first: by falling score, in the order given without scores."""
    if prediction is None or prediction.boxes is None:
        return np.zeros((0, 4))
    boxes = as_boxes(prediction.boxes)
    if prediction.scores is None:
        return boxes
    return boxes[np.argsort(-np.asarray(prediction.scores), kind="stable")]


def rank_of_first_hit(boxes: Floats, truth: Floats) -> int:
    """Place, from 1, of the first of ``(k, 4)`` boxes with IoU >= 0.5 with any of ``(m, 4)``; `NEVER`
    without one."""
    hits = (all_pairs(boxes, truth) >= THRESHOLD).any(axis=1)
    return int(np.argmax(hits)) + 1 if hits.any() else NEVER


def evaluate(pairs: Iterable[tuple[Record, Prediction | None]], merged: bool) -> Evaluation:
    """A variant over records and predictions.

    Args:
        pairs: records with their predictions.
        merged: the boxes of a phrase are first replaced by the one around them.
    """
    ranks, invalid = array("q"), array("b")
    for record, prediction in pairs:
        truth = annotated_boxes(record)
        if not len(truth):
            raise ProtocolError(f"record {record.id!r} has no box; phrases without a box are left out")
        boxes = ranked_boxes(prediction)
        ranks.append(rank_of_first_hit(boxes, enclosing(truth) if merged else truth))
        invalid.append(prediction is not None and not valid_boxes(boxes).any())
    rank = np.array(ranks)
    columns = {f"r{limit}": Column.mean(rank <= limit) for limit in RANKS}
    columns["r_all"] = Column.mean(rank < NEVER)
    return Evaluation(columns, np.array(invalid, bool), {"rank": np.where(rank < NEVER, rank, 0)})


REST = """\
R@k = share of phrases for which one of the k best boxes has IoU >= 0.5 in continuous pixels of the original
image, R@all the same over all boxes of the answer. Best first means by falling score, or the order given
where there are no scores. Not clipped. Missing and invalid answers are misses. In the per-sample file, rank
is the place of the first hit, 0 without one."""
VARIANTS = {
    "phrase/any": (
        f"""\
phrase/any: a box hits when it hits any one of the boxes of the phrase (MDETR's any-box). {REST}""",
        False,
    ),
    "phrase/merged": (
        f"""\
phrase/merged: the boxes of a phrase are first replaced by the smallest box around them (MDETR's merged-box,
the TransVG line). {REST}""",
        True,
    ),
}

for _id, (_text, _merged) in VARIANTS.items():
    register(
        Protocol(
            id=_id,
            text=_text,
            evaluate=partial(evaluate, merged=_merged),
            labels={f"r{limit}": f"R@{limit}" for limit in RANKS} | {"r_all": "R@all"},
        )
    )
