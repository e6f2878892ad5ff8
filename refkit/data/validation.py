"""One line of a records file → `Header` or `Record`, or a `RecordError` that says what to change."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn

from refkit.data import names
from refkit.data.json_object import describe, read_object
from refkit.data.schema import FORMAT, TASKS, Header, ImageRef, Record, RecordError, Target
from refkit.rle import mask_fault

_RECORD = ("id", "image", "text", "targets", "object", "ignore", "references", "labels", "facts")
_IMAGE = ("file", "width", "height", "id")
_TARGET = ("box", "mask", "id", "category", "any", "polygons")
_HEADER = (
    *("format", "dataset", "split_by", "split", "task", "records", "images"),
    *("image_root", "licence", "source", "digest", "digest_masks"),
)
_RECORD_KEYS, _IMAGE_KEYS, _TARGET_KEYS = frozenset(_RECORD), frozenset(_IMAGE), frozenset(_TARGET)
_NAME = re.compile(r"[A-Za-z0-9_+-]+")
_LARGE = 1e12
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SAMPLE = (
    f'{{"format": "{FORMAT}", "dataset": "refcoco", "split_by": "unc", "split": "val", "task": ["rec"]}}'
)


def parse_line(raw: bytes) -> dict[str, Any]:
    """The JSON object of one line.

    Raises:
        RecordError: not UTF-8, not JSON, not an object, a key twice, or NaN where JSON has no such number.
    """
    return read_object(raw, RecordError, finite=True)


def parse_header(fields: Mapping[str, Any]) -> Header:
    """The first line of a file.

    Raises:
        RecordError: the line is no header of this format version, or a field of it is wrong.
    """
    _check_format(fields)
    _reject_typos(fields, _HEADER)
    dataset, split_by, split = (_name_part(fields, key) for key in ("dataset", "split_by", "split"))
    _check_name(dataset, split_by, split)
    source = _mapping(fields.get("source", {}), "source")
    for key, value in source.items():
        _text(value, f"source.{key}")
    return Header(
        dataset=dataset,
        split_by=split_by,
        split=split,
        task=_tasks(fields),
        records=_count(fields, "records"),
        images=_count(fields, "images"),
        image_root=_text(fields.get("image_root", ""), "image_root"),
        licence=_text(fields.get("licence", ""), "licence"),
        source=dict(source),
        digest=_digest(fields, "digest"),
        digest_masks=_digest(fields, "digest_masks"),
        extra={key: value for key, value in fields.items() if key not in _HEADER},
    )


def parse_record(fields: Mapping[str, Any]) -> Record:
    """Any line but the first.

    Raises:
        RecordError: a field is missing, misspelt, of the wrong type or impossible for the image.
    """
    if "format" in fields:
        _fail("format", "a second header line; were two files joined? A file holds one header, at line 1")
    own = not _RECORD_KEYS.issuperset(fields)
    if own:
        _reject_typos(fields, _RECORD)
    identity = fields.get("id")
    if type(identity) is not str or not identity.isascii():
        identity = _text(_required(fields, "id", "text that names this record alone"), "id")
    if not identity:
        _fail("id", "empty, expected text that names this record alone")
    image = _image(_required(fields, "image", "an object with file, width and height"))
    targets = _required(fields, "targets", "a list ([] says that nothing in the image is meant)")
    if not isinstance(targets, list):
        _fail("targets", f"found {describe(targets)}, expected a list ([] for a no-target expression)")
    ignore, facts, references = fields.get("ignore"), fields.get("facts"), fields.get("references")
    return Record(
        id=identity,
        image=image,
        text=_optional_text(fields.get("text"), "text"),
        targets=[_target(value, index, image) for index, value in enumerate(targets)],
        object=_optional_text(fields.get("object"), "object"),
        ignore=None if ignore is None else _mask(ignore, "ignore", image),
        references=None if references is None else _references(references),
        labels=_labels(fields.get("labels")),
        facts=None if facts is None else dict(_mapping(facts, "facts")),
        extra={key: value for key, value in fields.items() if key not in _RECORD_KEYS} if own else {},
    )


def nearest(name: str, known: Sequence[str], cutoff: float = 0.6) -> str | None:
    """The known spelling closest to a name, or None when nothing is close."""
    found = difflib.get_close_matches(name.lower(), known, n=1, cutoff=cutoff)
    return found[0] if found else None


def _fail(field: str, reason: str) -> NoReturn:
    raise RecordError(reason, field)


def _required(fields: Mapping[str, Any], key: str, expected: str, within: str = "") -> Any:
    if key not in fields:
        found = nearest(key, [name for name in fields if name not in (*_RECORD, *_IMAGE, *_TARGET)])
        hint = f"; rename {found!r}?" if found else ""
        _fail(f"{within}{key}", f"missing, expected {expected}{hint}")
    return fields[key]


def _reject_typos(fields: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Fields of the owner's own are kept, but a misspelt field of ours would silently change the meaning."""
    for key in fields:
        if key not in known:
            meant = _misspelt(key, known)
            if meant and meant not in fields:
                _fail(key, f"unknown field, did you mean {meant!r}? (Choose another name if it is your own.)")


@lru_cache(maxsize=4096)
def _misspelt(key: str, known: tuple[str, ...]) -> str | None:
    return nearest(key, known, cutoff=0.8)


def _reject_unknown(fields: Mapping[str, Any], known: tuple[str, ...], field: str) -> None:
    for key in fields:
        if key not in known:
            meant = nearest(key, known)
            hint = f", did you mean {meant!r}?" if meant else f"; known here: {', '.join(known)}."
            _fail(f"{field}.{key}", f"unknown field{hint} Fields of your own stand beside 'id' and 'text'")


def _mapping(value: object, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _fail(field, f"found {describe(value)}, expected an object")
    return value


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        _fail(field, f"found {describe(value)}, expected text")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        _fail(field, "half of a surrogate pair, which UTF-8 cannot hold; write the whole character")
    return value


def _optional_text(value: object, field: str) -> str | None:
    if value is None or (type(value) is str and value.isascii()):
        return value
    return _text(value, field)


def _identity(value: object, field: str) -> int | str | None:
    if type(value) is int or type(value) is str:
        return value
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | str)):
        _fail(field, f"found {describe(value)}, expected a whole number or text")
    return value


def _pixels(fields: Mapping[str, Any], key: str) -> int:
    value = fields.get(key)
    if type(value) is int and value > 0:
        return value
    value = _required(fields, key, "the size of the original image in pixels", "image.")
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        _fail(f"image.{key}", f"found {describe(value)}, expected a whole number of pixels above 0")
    return value


def _image(value: object) -> ImageRef:
    fields = value if type(value) is dict else _mapping(value, "image")
    if not _IMAGE_KEYS.issuperset(fields):
        _reject_unknown(fields, _IMAGE, "image")
    file = _text(_required(fields, "file", "a path below the image root", "image."), "image.file")
    upwards = ".." in file and ".." in file.replace("\\", "/").split("/")
    if not file or file[0] in "/\\" or upwards:
        _fail("image.file", f"{file!r} leaves the image root; expected a relative path without '..'")
    return ImageRef(
        file, _pixels(fields, "width"), _pixels(fields, "height"), _identity(fields.get("id"), "image.id")
    )


def _target(value: object, index: int, image: ImageRef) -> Target:
    fields = value if type(value) is dict else _mapping(value, f"targets[{index}]")
    if not _TARGET_KEYS.issuperset(fields):
        _reject_unknown(fields, _TARGET, f"targets[{index}]")
    box, mask, choice = fields.get("box"), fields.get("mask"), fields.get("any", False)
    if box is None and mask is None:
        _fail(f"targets[{index}]", 'has neither box nor mask; a no-target expression has "targets": []')
    if choice is not False and choice is not True:
        _fail(f"targets[{index}].any", f"found {describe(choice)}, expected true or false")
    extras = ("id" in fields or "polygons" in fields) and _target_extras(fields, f"targets[{index}]")
    category = fields.get("category")
    if type(category) is not str or not category.isascii():
        category = _optional_text(category, f"targets[{index}].category")
    return Target(
        None if box is None else _box(box, index),
        None if mask is None else _mask(mask, f"targets[{index}].mask", image),
        category=category,
        any=choice,
        **(extras or {}),
    )


def _target_extras(fields: Mapping[str, Any], field: str) -> dict[str, Any]:
    return {
        "id": _identity(fields.get("id"), f"{field}.id"),
        "polygons": _polygons(fields.get("polygons"), f"{field}.polygons"),
    }


def _box(value: object, index: int) -> tuple[float, float, float, float]:
    if type(value) is not list or len(value) != 4:
        _fail(
            f"targets[{index}].box", f"found {describe(value)}, expected [left, top, right, bottom] in pixels"
        )
    left, top, right, bottom = value
    # the plain case first, without a call per number
    floats = type(left) is type(top) is type(right) is type(bottom) is float
    if floats and -_LARGE < left <= right < _LARGE and -_LARGE < top <= bottom < _LARGE:
        return left, top, right, bottom
    return _unusual_box(value, f"targets[{index}].box")


def _unusual_box(value: list[Any], field: str) -> tuple[float, float, float, float]:
    _numbers(value, field)
    left, top, right, bottom = map(float, value)
    if right < left or bottom < top:
        axis = "right < left" if right < left else "bottom < top"
        _fail(
            field,
            f"{value} has {axis}; expected [left, top, right, bottom] (is it [x, y, width, height]?)",
        )
    return left, top, right, bottom


def _numbers(values: Sequence[object], field: str) -> None:
    for index, number in enumerate(values):
        if isinstance(number, bool) or not isinstance(number, int | float):
            _fail(f"{field}[{index}]", f"found {describe(number)}, expected a number")
        if not math.isfinite(number):
            _fail(f"{field}[{index}]", f"{number} is not a finite number of pixels")


def _mask(value: object, field: str, image: ImageRef) -> dict[str, Any]:
    mask = _mapping(value, field)
    _reject_unknown(mask, ("size", "counts"), field)
    fault = mask_fault(mask, image.height, image.width)
    if fault:
        _fail(f"{field}.{fault[0]}", fault[1])
    return mask


def _polygons(value: object, field: str) -> list[list[float]] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        _fail(field, f"found {describe(value)}, expected a list of [x1, y1, x2, y2, …] lists")
    for index, polygon in enumerate(value):
        if not isinstance(polygon, list) or len(polygon) % 2 or len(polygon) < 6:
            _fail(f"{field}[{index}]", f"found {describe(polygon)}, expected x, y pairs of 3 or more corners")
        _numbers(polygon, f"{field}[{index}]")
    return value


def _references(value: object) -> list[str]:
    if not isinstance(value, list):
        _fail("references", f"found {describe(value)}, expected a list of captions")
    return [_text(item, f"references[{index}]") for index, item in enumerate(value)]


def _labels(value: object) -> dict[str, int] | None:
    if value is None:
        return None
    labels = _mapping(value, "labels")
    for name, label in labels.items():
        if isinstance(label, bool) or label not in (0, 1):
            _fail(f"labels.{name}", f"found {describe(label)}, expected 1 (present) or 0 (absent)")
    return labels


def _check_format(fields: Mapping[str, Any]) -> None:
    if "format" not in fields:
        _fail("format", f"no header; the first line must be one like {_SAMPLE}")
    found = fields["format"]
    if found == FORMAT:
        return
    if isinstance(found, str) and found.startswith("refkit.records/"):
        _fail("format", f"version {found!r} is not known here; this refkit reads {FORMAT!r}. Update refkit")
    if isinstance(found, str) and found.startswith("refkit.predictions/"):
        _fail("format", f"this is a prediction file ({found}), expected a records file ({FORMAT})")
    _fail("format", f"found {describe(found)}, expected {FORMAT!r}")


def _name_part(fields: Mapping[str, Any], key: str) -> str:
    value = _text(_required(fields, key, "a short name"), key)
    if not _NAME.fullmatch(value):
        _fail(key, f"found {describe(value)}, expected letters, digits, '_' and '-' only")
    return value


def _check_name(dataset: str, split_by: str, split: str) -> None:
    """Sets the field knows must carry the one spelling that results are filed under."""
    written = f"{dataset}.{split_by}.{split}"
    meant = names.recognise(written)
    if meant and meant != written:
        _fail("dataset", f"{written!r} is spelt {meant!r} in refkit; correct dataset, split_by and split")


def _tasks(fields: Mapping[str, Any]) -> list[str]:
    value = fields.get("task", ["rec"])
    if not isinstance(value, list) or not value:
        _fail("task", f"found {describe(value)}, expected a list out of {', '.join(TASKS)}")
    for task in value:
        if task not in TASKS:
            meant = nearest(str(task), TASKS, cutoff=0.5)
            hint = f"did you mean {meant!r}?" if meant else f"expected one of {', '.join(TASKS)}"
            _fail("task", f"unknown task {task!r}; {hint}")
    return list(value)


def _count(fields: Mapping[str, Any], key: str) -> int:
    value = fields.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _fail(key, f"found {describe(value)}, expected a whole number")
    return value


def _digest(fields: Mapping[str, Any], key: str) -> str:
    value = _text(fields.get(key, ""), key)
    if value and not _DIGEST.fullmatch(value):
        _fail(key, f"found {describe(value)}, expected 'sha256:' and 64 hexadecimal digits")
    return value
