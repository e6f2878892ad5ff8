"""Records at hand: files found by their digest, or RefShapes drawn again from the seed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from refkit.data.record_scan import RecordScan
from refkit.data.schema import Header, RecordError
from refkit.leaderboard.entries.files import EntryError
from refkit.leaderboard.entries.schema import Drawn, ResultEntry
from refkit.leaderboard.pairing import RecordSource

_ENDINGS = (".jsonl", ".jsonl.gz")
MOST_FILES = 20_000


class RecordShelf:
    """Finds records by digest among the files of some folders; only first lines are read."""

    def __init__(self, folders: Iterable[str | os.PathLike[str]] = ()) -> None:
        """Look through the folders and everything below them; a file may stand for a folder."""
        self._paths: dict[str, Path] = {}
        for folder in folders:
            for path in _files(Path(folder)):
                for digest in _stated_digests(path):
                    self._paths.setdefault(digest, path)

    def file(self, digest: str | None) -> Path | None:
        """The records file of a digest, with or without masks; None where it is not at hand."""
        return self._paths.get(digest) if digest else None

    def source(self, result: ResultEntry) -> RecordSource | None:
        """What a result was scored on: a file, or records drawn again; None where neither is possible."""
        found = self.file(result.records_digest)
        if found is not None:
            return found
        return redraw(result.drawn, result.split) if result.drawn else None


def redraw(drawn: Drawn, split: str) -> RecordSource:
    """RefShapes records from their seed, in memory."""
    from refkit.data.sources.refshapes import read
    from refkit.data.sources.spec import Skips

    part = read([], Skips(), split=split, **drawn.model_dump())[0]
    return part.header, list(part.records)


def drawn_of(header: Header) -> Drawn | None:
    """How the records of a header were drawn; None for records of real pictures."""
    drawn = header.extra.get("drawn")
    if header.dataset != "refshapes" or not isinstance(drawn, dict):
        return None
    try:
        return Drawn.model_validate(drawn)
    except ValueError:
        return None


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
        return
    if not folder.is_dir():
        raise EntryError(f"{folder}: no such folder of records")
    for count, path in enumerate(sorted(folder.rglob("*.jsonl*"))):
        if count >= MOST_FILES:
            raise EntryError(
                f"{folder}: more than {MOST_FILES:,} files; name the folder of the records itself"
            )
        if path.name.endswith(_ENDINGS) and path.is_file():
            yield path


def _stated_digests(path: Path) -> tuple[str, ...]:
    """Of a records file that states them; prediction files and others state none."""
    try:
        header = RecordScan(path).header
    except (RecordError, OSError):
        return ()
    return tuple(digest for digest in (header.digest, header.digest_masks) if digest)
