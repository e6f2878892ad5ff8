"""Dividing a records file among processes, and joining what they wrote.

Shard ``k`` of ``n`` answers the records ``k, k + n, k + 2n, …``, so that shards take equally long where a
file is sorted, too. It writes ``<stem>.shard-k-of-n.predictions.jsonl`` beside the file that all will make.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from refkit.data.record_file import RecordFile
from refkit.leaderboard.predictions import PredictionHeader, read_predictions, write_predictions
from refkit.structures import Prediction

_ENDINGS = (".predictions.jsonl", ".predictions.jsonl.gz", ".jsonl", ".jsonl.gz")
_SHARD_FILE = re.compile(r"\.shard-(\d+)-of-(\d+)")


class ShardError(ValueError):
    """A shard that cannot be, or shards that do not make a whole."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of the work.

    Attributes:
        index: from 0.
        count: of all shards.
    """

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``"0/2"`` is the first of two.

        Raises:
            ShardError: not of that form, or not one of the shards.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not int(match[1]) < int(match[2]):
            raise ShardError(
                f"--shard {text!r}: expected INDEX/COUNT with INDEX from 0 to COUNT - 1, such as 0/2."
            )
        return cls(int(match[1]), int(match[2]))

    def positions(self, total: int) -> range:
        """Which of ``total`` records this shard answers."""
        return range(self.index, total, self.count)

    def path(self, out: str | os.PathLike[str]) -> Path:
        """Where this shard writes; the whole of one shard is ``out`` itself."""
        whole = Path(out)
        ending = next((ending for ending in _ENDINGS if whole.name.endswith(ending)), None)
        if ending is None:
            raise ShardError(f"{out}: expected a name that ends in .predictions.jsonl, .jsonl or .jsonl.gz.")
        if self.count == 1:
            return whole
        stem = whole.name.removesuffix(ending)
        return whole.with_name(f"{stem}.shard-{self.index}-of-{self.count}{ending}")


def merge_shards(records: str | os.PathLike[str], out: str | os.PathLike[str]) -> int:
    """Joins the finished shards of ``out`` into it, in the order of the records; the shards stay.

    Args:
        records: the records file that was answered.
        out: the name that was given to every shard.

    Returns:
        How many predictions were written.

    Raises:
        ShardError: shards are missing, are of different runs, or leave records out.
        PredictionError: a shard is broken.
    """
    parts = [read_predictions(path) for path in _complete_set(Path(out))]
    header = _common_header([header for header, _ in parts], Path(out))
    answers = {identity: prediction for _, part in parts for identity, prediction in part.items()}
    if sum(len(part) for _, part in parts) != len(answers):
        raise ShardError(f"{out}: two shards answer the same record; were they made from one records file?")
    return write_predictions(out, header, _in_order(RecordFile(records), answers))


def _complete_set(out: Path) -> list[Path]:
    pattern = Shard(0, 2).path(out).name.replace("-0-of-2", "-*-of-*")
    found: dict[int, dict[int, Path]] = {}
    for path in out.parent.glob(pattern):
        if match := _SHARD_FILE.search(path.name):
            found.setdefault(int(match[2]), {})[int(match[1])] = path
    if len(found) != 1:
        listed = ", ".join(map(str, sorted(found)))
        reason = (
            f"shards of different divisions ({listed}); delete the old ones" if found else "no shards found"
        )
        raise ShardError(f"{out}: {reason}. They are named like {pattern}.")
    count, paths = found.popitem()
    missing = [str(index) for index in range(count) if index not in paths]
    if missing:
        raise ShardError(
            f"{out}: shard {', '.join(missing)} of {count} is not finished; run it with --resume first."
        )
    return [paths[index] for index in range(count)]


def _common_header(headers: list[PredictionHeader], out: Path) -> PredictionHeader:
    plain = [replace(header, created="", extra=_without_shard(header)) for header in headers]
    for index, header in enumerate(plain):
        if header != plain[0]:
            raise ShardError(
                f"{out}: shard {index} was made by another model, with other settings or for other records "
                "than shard 0; run it again."
            )
    return replace(headers[0], extra=_without_shard(headers[0]))


def _without_shard(header: PredictionHeader) -> dict[str, object]:
    return {key: value for key, value in header.extra.items() if key != "shard"}


def _in_order(records: RecordFile, answers: dict[str, Prediction]) -> Iterator[Prediction]:
    left = dict(answers)
    for record in records:
        if (prediction := left.pop(record.id, None)) is not None:
            yield prediction
    if left:
        raise ShardError(
            f"{records.path} has no record {next(iter(left))!r}; the shards answer another file."
        )
