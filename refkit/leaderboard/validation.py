"""One line of a prediction file → `PredictionHeader` or `Prediction`, or a `PredictionError` that says what
to change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refkit.data.json_object import describe, read_object
from refkit.data.validation import nearest
from refkit.leaderboard.box_spaces import BOX_SPACES, PIXEL
from refkit.leaderboard.schema import (
    FORMAT,
    HEADER_REQUIRED,
    HEADER_TEXTS,
    PredictionError,
    PredictionHeader,
    check_consistency,
)
from refkit.structures import STATUSES, Prediction

_NUMBERS = frozenset((float, int))
_HEADER_KNOWN = ("format", "settings", *HEADER_TEXTS)
_HEADER_SAMPLE = (
    f'{{"format": "{FORMAT}", "records": "refcoco.unc.testA", "records_digest": "sha256:…", '
    f'"model": "my model", "box": "{PIXEL}"}}'
)


LONGEST_LABEL = 2_000
_LONGEST = {"caption": 20_000, "raw": 1_000_000}


def parse_line(raw: bytes) -> dict[str, Any]:
    """The JSON object of one line. NaN and Infinity are read: a box of them is an invalid answer, not a
    broken file.

    Raises:
        PredictionError: not UTF-8, not JSON, not an object, or a key twice.
    """
    return read_object(raw, PredictionError, finite=False)


def parse_header(fields: Mapping[str, Any]) -> PredictionHeader:
    """The first line of a prediction file.

    Raises:
        PredictionError: no header of this format version, or a field of it is missing or wrong.
    """
    if fields.get("format") != FORMAT:
        found = describe(fields["format"]) if "format" in fields else "no 'format'"
        raise PredictionError(
            f"found {found}, expected the header of a prediction file: {_HEADER_SAMPLE}", "format"
        )
    for name in HEADER_REQUIRED:
        if not fields.get(name):
            raise PredictionError(
                f"missing{_misspelt(name, fields)}, expected a header like {_HEADER_SAMPLE}", name
            )
    texts = {name: _label(fields[name], name) for name in HEADER_TEXTS if fields.get(name) is not None}
    if texts["box"] not in BOX_SPACES:
        offer = _offer(texts["box"], list(BOX_SPACES))
        raise PredictionError(
            f"no box space {texts['box']!r}{offer} There are: {', '.join(BOX_SPACES)}", "box"
        )
    settings = fields.get("settings") or {}
    if not isinstance(settings, dict):
        raise PredictionError(f"found {describe(settings)}, expected an object", "settings")
    extra = {name: value for name, value in fields.items() if name not in _HEADER_KNOWN}
    return PredictionHeader(**{"made_by": "", **texts}, settings=settings, extra=extra)


def parse_prediction(fields: dict[str, Any], space: str) -> tuple[Prediction, tuple[float, float] | None]:
    """Any line but the first, with its boxes as they stand.

    Args:
        fields: the JSON object of the line.
        space: the box space that the header declares.

    Returns:
        The prediction, and the network input's (width, height) where the line gives one.

    Raises:
        PredictionError: a field is unknown, missing, of the wrong type, or contradicts another.
    """
    if "format" in fields:
        raise PredictionError(
            "a second header line; were two files joined? A file holds one header", "format"
        )
    values: dict[str, Any] = {}
    for name, value in fields.items():
        parse = _FIELDS.get(name)
        if parse is None:
            raise _unknown_field(name)
        if value is not None:
            values[name] = parse(value, name)
    input_size = values.pop("input_size", None)
    if not values.get("id"):
        raise PredictionError("missing or empty, expected the id of the record that is answered", "id")
    prediction = Prediction(**values)
    check_consistency(prediction, input_size, space)
    return prediction, input_size


def plain_answer(fields: Mapping[str, Any]) -> tuple[str, list[float], list[float]] | None:
    """The quick way for the line that comes by the million: one finite box with its score, beyond doubt.

    Returns:
        Id, corners of the box, and the score in a list; None where `parse_prediction` has to look at it.
    """
    if len(fields) != 3 or "scores" not in fields:
        return None
    identity, boxes, scores = fields.get("id"), fields.get("boxes"), fields["scores"]
    if type(identity) is not str or type(boxes) is not list or type(scores) is not list:
        return None
    if not len(boxes) == len(scores) == 1 or not 0 < len(identity) <= LONGEST_LABEL:
        return None
    (box,), (score,) = boxes, scores
    if type(box) is not list or len(box) != 4 or type(score) is not float or not math.isfinite(score):
        return None
    left, top, right, bottom = box
    return (
        (identity, box, scores) if type(left) is type(top) is type(right) is type(bottom) is float else None
    )


def _unknown_field(name: str) -> PredictionError:
    return PredictionError(
        f"unknown field{_offer(name, list(_FIELDS))} Known are: {', '.join(_FIELDS)}", name
    )


def _offer(name: str, known: Sequence[str]) -> str:
    near = nearest(name, known)
    return f"; did you mean {near!r}?" if near else "."


def _misspelt(name: str, fields: Mapping[str, Any]) -> str:
    """The key of a header that may have been meant for a missing one."""
    near = nearest(name, [key for key in fields if key not in _HEADER_KNOWN])
    return f"; did you mean {name!r} where {near!r} stands?" if near else ""


def _label(value: Any, name: str) -> str:
    """Header texts stand in tables and terminals, where control characters would do harm."""
    text = _text(value, name)
    if not text.isprintable():
        raise PredictionError(f"found {describe(text)}, expected one line of printable text", name)
    return text


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise PredictionError(f"found {describe(value)}, expected text", name)
    longest = _LONGEST.get(name, LONGEST_LABEL)
    if len(value) > longest:
        raise PredictionError(f"{len(value):,} characters, expected at most {longest:,}; shorten it", name)
    return value


def _texts(value: Any, name: str) -> list[str]:
    if not isinstance(value, list):
        raise PredictionError(f"found {describe(value)}, expected a list with one text per box", name)
    return [_text(text, f"{name}[{index}]") for index, text in enumerate(value)]


def _boxes(value: Any, name: str) -> NDArray[np.float64]:
    if not isinstance(value, list):
        raise PredictionError(
            f"found {describe(value)}, expected a list of boxes [[x1, y1, x2, y2], …]", name
        )
    for index, box in enumerate(value):
        if type(box) is not list or len(box) != 4:
            hint = " (one box is written [[x1, y1, x2, y2]])" if _is_number(box) else ""
            raise PredictionError(f"found {describe(box)}, expected four numbers{hint}", f"{name}[{index}]")
        if not _NUMBERS.issuperset(map(type, box)):
            _check_numbers(box, f"{name}[{index}]")
    return _float_array(value, name) if value else np.zeros((0, 4))


def _scores(value: Any, name: str) -> NDArray[np.float64]:
    if not isinstance(value, list):
        raise PredictionError(f"found {describe(value)}, expected a list with one score per box", name)
    if not _NUMBERS.issuperset(map(type, value)):
        _check_numbers(value, name)
    scores = _float_array(value, name)
    if not all(map(math.isfinite, scores)):
        raise PredictionError("a score is NaN or infinite, expected finite numbers", name)
    return scores


def _check_numbers(values: list[Any], name: str) -> None:
    for value in values:
        if type(value) is not float and type(value) is not int:
            raise PredictionError(
                f'found {describe(value)}, expected a number (an answer without a box has "boxes": [])', name
            )


def _float_array(values: list[Any], name: str) -> NDArray[np.float64]:
    try:
        return np.array(values, np.float64)
    except OverflowError:
        raise PredictionError("an integer beyond the range of floating point numbers", name) from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _mask(value: Any, name: str) -> dict[str, Any]:
    size = value.get("size") if isinstance(value, dict) else None
    right = isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    if not right or set(value) != {"size", "counts"} or not isinstance(value["counts"], str):
        raise PredictionError(
            f'found {describe(value)}, expected COCO RLE {{"size": [height, width], "counts": "…"}}',
            name,
        )
    return value


def _score_table(value: Any, name: str) -> dict[str, float]:
    if not isinstance(value, dict):
        raise PredictionError(f"found {describe(value)}, expected an object with a score per name", name)
    for key, score in value.items():
        if not _is_number(score) or not math.isfinite(score):
            raise PredictionError(f"found {describe(score)}, expected a finite number", f"{name}.{key}")
    return {key: float(score) for key, score in value.items()}


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise PredictionError(f"found {describe(value)}, expected true or false", name)
    return value


def _status(value: Any, name: str) -> str:
    if value not in STATUSES:
        raise PredictionError(f"found {describe(value)}, expected one of {', '.join(STATUSES)}", name)
    return value


def _input_size(value: Any, name: str) -> tuple[float, float]:
    pair = isinstance(value, list) and len(value) == 2
    if not pair or not all(_is_number(side) and math.isfinite(side) and side > 0 for side in value):
        raise PredictionError(f"found {describe(value)}, expected [width, height] of the network input", name)
    return float(value[0]), float(value[1])


_FIELDS: dict[str, Callable[[Any, str], Any]] = {
    "id": _text,
    "boxes": _boxes,
    "scores": _scores,
    "mask": _mask,
    "caption": _text,
    "captions": _texts,
    "tags": _score_table,
    "attributes": _score_table,
    "categories": _score_table,
    "no_target": _flag,
    "status": _status,
    "raw": _text,
    "input_size": _input_size,
}
