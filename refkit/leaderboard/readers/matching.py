"""Which record a foreign answer belongs to."""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from refkit.data.schema import Record
from refkit.leaderboard.readers.answers import Key

_LAST_NUMBER = re.compile(r"(\d{1,18})$")


class RecordIndex:
    """Finds records by what foreign files call them; nothing ambiguous is found.

    Attributes:
        sizes: width and height of the picture by record id, in the order of the records.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.sizes: dict[str, tuple[int, int]] = {}
        self._numbers: dict[int, str | None] = {}
        self._texts: dict[tuple[int | str, str], deque[str]] = {}
        for record in records:
            self.sizes[record.id] = (record.image.width, record.image.height)
            self._add_number(record.id)
            for image in {record.image.id, Path(record.image.file).name}:
                if image is not None:
                    self._texts.setdefault((image, plain(record.text or "")), deque()).append(record.id)
        self._ids = list(self.sizes)

    def find(self, key: Key, how: str) -> str | None:
        """The id of the record, or None.

        Args:
            key: of the answer.
            how: a key of `WAYS`. Texts that stand twice on one picture are handed out in the order of the
                records: they mean the same object, so that any pairing is right.
        """
        return _FINDERS[how](self, key)

    def _add_number(self, identity: str) -> None:
        found = _LAST_NUMBER.search(identity)
        if found:
            number = int(found[1])
            self._numbers[number] = None if number in self._numbers else identity

    def _by_id(self, key: Key) -> str | None:
        return key.id if key.id in self.sizes else None

    def _by_number(self, key: Key) -> str | None:
        return None if key.number is None else self._numbers.get(key.number)

    def _by_position(self, key: Key) -> str | None:
        inside = key.position is not None and 0 <= key.position < len(self._ids)
        return self._ids[key.position] if inside and key.position is not None else None

    def _by_text(self, key: Key) -> str | None:
        if key.image is None or key.text is None:
            return None
        waiting = self._texts.get((key.image, plain(key.text)))
        return waiting.popleft() if waiting else None


_FINDERS: Mapping[str, Callable[[RecordIndex, Key], str | None]] = {
    "id": RecordIndex._by_id,
    "number": RecordIndex._by_number,
    "position": RecordIndex._by_position,
    "text": RecordIndex._by_text,
}
WAYS: Mapping[str, str] = {
    "id": "the record's id",
    "number": "the number at the end of the record's id",
    "position": "its row among the records, from 0",
    "text": "picture and expression",
}


def plain(text: str) -> str:
    """An expression without differences that no annotator meant: case, blanks, form of characters."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())
