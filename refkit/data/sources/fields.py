"""What is wrong with the fields of an entry, in words: missing, misspelt, of another type."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from refkit.data.validation import nearest

_SHOWN = 12


class FieldError(ValueError):
    """A field that an importer cannot use.

    Args:
        reason: the kind of defect, the same for all entries that share it.
        detail: the offending value.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def explain(error: Exception, entry: Mapping[str, Any]) -> tuple[str, str]:
    """Reason and detail, as `Skips.reject` wants them, of an error that the reading of an entry met."""
    if isinstance(error, FieldError):
        return error.reason, error.detail
    key = error.args[0] if isinstance(error, KeyError) and error.args else None
    if isinstance(key, str) and key not in entry:
        return f"the field {key!r} is missing", which_are_there(key, entry)
    return "a field is missing or of another type", repr(error)


def which_are_there(key: str, fields: Collection[str]) -> str:
    """What stands in place of a missing key: a name like it, and the names that are there."""
    names = [str(name) for name in fields]
    meant = nearest(key, names, cutoff=0.7)
    hint = f"is it {meant!r}? " if meant else ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{hint}there are {', '.join(names[:_SHOWN]) or 'no fields'}{more}"


def reject_misspelt(fields: Mapping[str, Any], known: tuple[str, ...], own: Collection[str] = ()) -> None:
    """Refuse a field that looks like a known one which is absent: its meaning would be lost in silence.

    Args:
        fields: of one entry.
        known: the fields that the importer reads.
        own: fields that look like known ones and are meant as they are.

    Raises:
        FieldError: with the known spelling.
    """
    for key in fields:
        if key in known or key in own:
            continue
        meant = _misspelt(key, known)
        if meant and meant not in fields:
            raise FieldError(
                f"{key}: unknown field, did you mean {meant!r}?", "choose another name if it is your own"
            )


@lru_cache(maxsize=4096)
def _misspelt(key: str, known: tuple[str, ...]) -> str | None:
    return nearest(key, known, cutoff=0.8)
