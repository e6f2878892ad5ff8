"""What a prediction file holds: `PredictionHeader`, the lines, and the error that names its place.

Import these from `refkit.leaderboard.predictions`, which also reads and writes the files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refkit.data.line_error import LineError
from refkit.data.schema import Header
from refkit.leaderboard.box_spaces import PIXEL
from refkit.structures import STATUSES, Prediction
from refkit.version import __version__

FORMAT = "refkit.predictions/1"
BOX_DECIMALS = 4
SCORE_DECIMALS = 6
NAME_SCORE_DIGITS = 9
"""Significant digits of the scores of names: two different numbers in single precision stay different."""


class PredictionError(LineError):
    """A prediction file that cannot be used as it is; see `LineError` for its place."""


@dataclass(slots=True)
class PredictionHeader:
    """First line of a prediction file.

    Attributes:
        records: name of the records it answers, ``refcoco.unc.testA``.
        records_digest: their digest; scoring refuses other records.
        model: name of the method.
        checkpoint: ``sha256:…`` of its weights.
        box: coordinate space of the boxes, a key of `BOX_SPACES`; refkit writes ``xyxy-pixel`` only.
        made_by: program and version.
        settings: whatever changes the answers (resolution, prompt, decoding, …).
        created: date, ``YYYY-MM-DD``.
        records_digest_masks: their digest with masks, for mask protocols.
        extra: keys this version does not know, kept as they were.
    """

    records: str
    records_digest: str = ""
    model: str = ""
    checkpoint: str = ""
    box: str = PIXEL
    made_by: str = f"refkit {__version__}"
    settings: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    records_digest_masks: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def answering(
        cls, records: Header, model: str, checkpoint: str = "", settings: Mapping[str, Any] | None = None
    ) -> PredictionHeader:
        """The header of answers to a records file."""
        return cls(
            records=records.name,
            records_digest=records.digest,
            records_digest_masks=records.digest_masks,
            model=model,
            checkpoint=checkpoint,
            settings=dict(settings or {}),
        )

    def to_json(self) -> dict[str, Any]:
        """The header line as a JSON object."""
        fields = {"format": FORMAT, **{name: getattr(self, name) for name in HEADER_TEXTS}}
        kept = {name: value for name, value in fields.items() if value or name in HEADER_REQUIRED}
        return kept | ({"settings": self.settings} if self.settings else {}) | self.extra


HEADER_TEXTS = (
    *(
        "records",
        "records_digest",
        "records_digest_masks",
        "model",
        "checkpoint",
        "box",
        "made_by",
        "created",
    ),
)
HEADER_REQUIRED = ("records", "model", "box")


def check_consistency(prediction: Prediction, input_size: tuple[float, float] | None, space: str) -> None:
    """Whether the fields of a prediction agree.

    Raises:
        PredictionError: scores without boxes, boxes of a failed answer, or no input size where the space
            needs it.
    """
    boxes, scores = prediction.boxes, prediction.scores
    count = 0 if boxes is None else len(boxes)
    if scores is not None and len(scores) != count:
        raise PredictionError(f"{len(scores)} scores for {count} boxes, expected one per box", "scores")
    if prediction.captions is not None and len(prediction.captions) != count:
        raise PredictionError(
            f"{len(prediction.captions)} captions for {count} boxes, expected one per box", "captions"
        )
    if count and prediction.status != "ok":
        raise PredictionError(
            f"{prediction.status!r} together with {count} boxes; an answer with boxes has the status 'ok'",
            "status",
        )
    if count and space == "xyxy-input" and input_size is None:
        raise PredictionError(
            "missing, expected [width, height] of the network input (the header declares box 'xyxy-input')",
            "input_size",
        )


def round_boxes(boxes: ArrayLike) -> NDArray[np.float64]:
    """Boxes as a prediction file holds them: float64, four decimals, no negative zero.

    The rounded numbers are what is scored, also where no file lies between model and metric: the shortest
    decimal text of such a number reads back as exactly that number, so both ways give the same bits.
    """
    return _rounded(boxes, BOX_DECIMALS).reshape(-1, 4)


def _rounded(values: ArrayLike, decimals: int) -> NDArray[np.float64]:
    return np.asarray(np.round(np.asarray(values, np.float64), decimals) + 0.0, np.float64)


def as_written(prediction: Prediction) -> Prediction:
    """What reading a prediction back from a file gives, bit for bit.

    Boxes have four decimals, scores six, scores of names nine significant digits, and masks hold text. A
    model that answers with NaN or infinity has failed: the prediction keeps neither boxes nor scores and gets
    the status ``failed``, because JSON has no such numbers.
    """
    boxes = None if prediction.boxes is None else round_boxes(prediction.boxes)
    scores = None if prediction.scores is None else _rounded(prediction.scores, SCORE_DECIMALS).reshape(-1)
    captions, status = prediction.captions, prediction.status
    named = [_rounded_names(part) for part in (prediction.tags, prediction.attributes, prediction.categories)]
    numbers = [boxes, scores, *(np.array(list(part.values())) for part in named if part is not None)]
    if not all(part is None or np.isfinite(part).all() for part in numbers):
        boxes, scores, captions, named = np.zeros((0, 4)), None, None, [None] * 3
        status = "failed" if status == "ok" else status
    return replace(
        prediction,
        boxes=boxes,
        scores=scores,
        captions=captions,
        mask=_text_mask(prediction.mask),
        tags=named[0],
        attributes=named[1],
        categories=named[2],
        no_target=None if prediction.no_target is None else bool(prediction.no_target),
        status=status,
    )


def to_line(fields: dict[str, Any]) -> bytes:
    """One line with its line feed, in ASCII: no text of a model can break the line or the encoding."""
    return (json.dumps(fields, allow_nan=False) + "\n").encode("ascii")


def prediction_to_json(prediction: Prediction) -> dict[str, Any]:
    """The line of a prediction as a JSON object; absent fields are left out.

    Raises:
        PredictionError: a prediction that could not be read back.
    """
    written = as_written(prediction)
    if written.status not in STATUSES:
        raise PredictionError(f"found {written.status!r}, expected one of {', '.join(STATUSES)}", "status")
    check_consistency(written, None, PIXEL)
    fields: dict[str, Any] = {
        "id": written.id,
        "boxes": None if written.boxes is None else written.boxes.tolist(),
        "scores": None if written.scores is None else written.scores.tolist(),
        "mask": written.mask,
        "caption": written.caption,
        "captions": written.captions,
        "tags": written.tags,
        "attributes": written.attributes,
        "categories": written.categories,
        "no_target": written.no_target,
        "status": None if written.status == "ok" else written.status,
        "raw": written.raw,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _rounded_names(scores: dict[str, float] | None) -> dict[str, float] | None:
    if scores is None:
        return None
    return {name: float(f"{score:.{NAME_SCORE_DIGITS}g}") for name, score in scores.items()}


def _text_mask(mask: dict[str, Any] | None) -> dict[str, Any] | None:
    """pycocotools gives ``counts`` as bytes."""
    if mask is None:
        return None
    counts = mask["counts"]
    return {
        "size": [int(side) for side in mask["size"]],
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
    }
