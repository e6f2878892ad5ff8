"""The JSON object of one line: the quick way, and the strict one for whatever is unusual about a line.

`orjson` is several times faster than the standard library, but takes the last of two equal keys in silence.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import orjson

from refkit.data.line_error import LineError


def read_object(raw: bytes, error: type[LineError], finite: bool) -> dict[str, Any]:
    """The JSON object of one line.

    Args:
        raw: one line of a JSON Lines file.
        error: what is raised.
        finite: refuse NaN and Infinity, which Python's reader knows and JSON does not.

    Raises:
        LineError: not UTF-8, not JSON, not an object, or a key twice.
    """
    quick = quick_object(raw)
    return _strict_object(raw, error, finite) if quick is None else quick


def _strict_object(raw: bytes, error: type[LineError], finite: bool) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8")
        value = (_FINITE if finite else _PERMISSIVE).decode(text)
    except _NotFiniteError:
        place = _find_not_finite(json.loads(text))
        raise error("NaN and Infinity are not numbers of JSON; expected finite numbers", place) from None
    except _DoubleKeyError as double:
        raise error("this key stands twice in one object; keep one", str(double)) from None
    except UnicodeDecodeError as wrong:
        raise error(f"byte {wrong.start + 1} of the line is not UTF-8; save the file as UTF-8") from None
    except json.JSONDecodeError as wrong:
        raise error(f"not JSON: {wrong.msg} at column {wrong.colno}{_excerpt(wrong)}") from None
    except (RecursionError, ValueError) as wrong:
        raise error(f"not usable JSON: {wrong}") from None
    if not isinstance(value, dict):
        raise error(f"found {describe(value)}, expected one JSON object per line")
    return value


def describe(value: object) -> str:
    """A JSON value in a few words, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, list):
        return f"a list of {len(value)} value{'s' * (len(value) != 1)}"
    if isinstance(value, dict):
        return f"an object with {', '.join(map(repr, list(value)[:4])) or 'no keys'}"
    return f"a {type(value).__name__}"


class _NotFiniteError(Exception):
    """Python's JSON reader met NaN or Infinity."""


class _DoubleKeyError(Exception):
    """An object has the same key twice; the message is the key."""


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _DoubleKeyError(next(key for key in keys if keys.count(key) > 1))
    return fields


def _no_constant(name: str) -> NoReturn:
    raise _NotFiniteError(name)


_FINITE = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_no_constant)
_PERMISSIVE = json.JSONDecoder(object_pairs_hook=_unique_keys)


def quick_object(raw: bytes) -> dict[str, Any] | None:
    """The object of a line that is beyond doubt.

    Args:
        raw: one line of a JSON Lines file.

    Returns:
        The object; None where the line is broken, no object, or could hold a key twice, so that a strict
        decoder has to look at it.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if type(value) is not dict:
        return None
    # As many colons as keys were read, or as many keys as quotes before a colon: none was lost.
    keys = _keys(value)
    return value if raw.count(b":") == keys or _all_keys_plain(raw, keys) else None


def _all_keys_plain(raw: bytes, keys: int) -> bool:
    """Whether a line with colons in its texts holds just so many keys; a blank before a colon hides one."""
    return raw.count(b'":') == keys and not any(blank in raw for blank in (b" :", b"\t:", b"\r:"))


def _keys(fields: dict[str, Any]) -> int:
    """Keys of an object and of the objects in it and in its lists; missing some only sends a line the slow
    way."""
    count = len(fields)
    for value in fields.values():
        kind = type(value)
        if kind is dict:
            count += _keys(value)
        elif kind is list:
            for item in value:
                if type(item) is dict:
                    count += _keys(item)
    return count


def _find_not_finite(value: object, place: str = "") -> str:
    """The path of the first number that is not finite, as in ``targets[0].box[2]``."""
    if isinstance(value, dict):
        steps = [(f"{place}.{key}" if place else key, item) for key, item in value.items()]
    elif isinstance(value, list):
        steps = [(f"{place}[{index}]", item) for index, item in enumerate(value)]
    else:
        return place if isinstance(value, float) and not math.isfinite(value) else ""
    return next((found for step, item in steps if (found := _find_not_finite(item, step))), "")


def _excerpt(error: json.JSONDecodeError) -> str:
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated"):
        return ", where the line ends; was the file copied completely?"
    return f", at {error.doc[error.pos : error.pos + 20]!r}"
