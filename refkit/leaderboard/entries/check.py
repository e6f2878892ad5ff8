"""`refkit leaderboard check`: every number that came from a prediction file is computed again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from refkit.leaderboard.entries.add import result_values
from refkit.leaderboard.entries.files import EntryError, Located, inside
from refkit.leaderboard.entries.overlap import find_overlap
from refkit.leaderboard.entries.schema import Entry, ResultEntry
from refkit.leaderboard.entries.sources import RecordShelf
from refkit.leaderboard.result import Result
from refkit.leaderboard.scoring import DRAWS, score


@dataclass(slots=True)
class CheckReport:
    """What became of every result.

    Attributes:
        equal: results that were computed again and are the same.
        different: results with what is different.
        not_computed: results with why they could not be computed again.
        reported: number of results that are copied from a publication.
    """

    equal: list[str] = field(default_factory=list)
    different: list[tuple[str, str]] = field(default_factory=list)
    not_computed: list[tuple[str, str]] = field(default_factory=list)
    reported: int = 0


def check_entries(folder: Path, entries: Iterable[Located], shelf: RecordShelf) -> CheckReport:
    """Compute every `reproduced` and `verified` result again and compare all of its numbers exactly.

    Args:
        folder: of the leaderboard; prediction files lie below it.
        entries: of the leaderboard.
        shelf: where records are looked for; those of RefShapes are drawn again.
    """
    report = CheckReport()
    for located in entries:
        if not located.entry.recomputable:
            report.reported += len(located.entry.results)
            continue
        for result in located.entry.results:
            place = f"{located.entry.task}/{located.name}: {result.records}, {result.protocol}"
            if not _at_hand(shelf, result):
                report.not_computed.append(
                    (place, f"no records with the digest {result.records_digest} at hand")
                )
                continue
            differences, lacking = _compare(folder, located.entry, result, shelf)
            if differences:
                report.different.append((place, "; ".join(differences)))
            elif lacking:
                report.not_computed.append((place, lacking))
            else:
                report.equal.append(place)
    return report


def _at_hand(shelf: RecordShelf, result: ResultEntry) -> bool:
    return result.drawn is not None or shelf.file(result.records_digest) is not None


def _compare(folder: Path, entry: Entry, result: ResultEntry, shelf: RecordShelf) -> tuple[list[str], str]:
    """What differs, and what a program that is missing here would have to compute."""
    assert result.predictions is not None and result.protocol is not None  # by the schema of such entries
    source = shelf.source(result)
    try:
        path = inside(folder, result.predictions.file)
        if not path.is_file():
            raise EntryError(f"the prediction file {result.predictions.file} is missing")
        bootstrap = result.bootstrap
        draws, seed = (bootstrap.draws, bootstrap.seed) if bootstrap else (DRAWS, 0)
        found = score(source, path, result.protocol, draws=draws, seed=seed)  # type: ignore[arg-type]
    except ValueError as error:
        return [str(error)], ""
    lacking = _not_computable(result, found)
    differences = [*_differences(result, found, lacking), *_overlap_difference(entry, result, shelf)]
    reason = f"{', '.join(lacking)}: {'; '.join(found.warnings)} (the other numbers are equal)"
    return differences, reason if lacking else ""


def _not_computable(result: ResultEntry, found: Result) -> list[str]:
    """Metrics of the entry that the score leaves out with a warning, as METEOR without Java."""
    absent = [name for name in result.metrics if name in found.metrics and math.isnan(found[name])]
    return absent if found.warnings else []


def _differences(result: ResultEntry, found: Result, lacking: Sequence[str]) -> Iterator[str]:
    assert result.predictions is not None
    if found.predictions != f"sha256:{result.predictions.sha256}":
        yield f"predictions: the file was changed, its {found.predictions} is not the entry's"
    if found.records_digest != result.records_digest:
        yield f"records_digest: {result.records_digest} in the entry, {found.records_digest} found"
    left_out = {end for name in lacking for end in (name, f"{name}_interval")}
    stated, computed = result.value, result_values(found)
    for name in sorted((stated.keys() | computed.keys()) - left_out):
        if stated.get(name) != computed.get(name):
            yield f"{name}: {stated.get(name)} in the entry, {computed.get(name)} found"


def _overlap_difference(entry: Entry, result: ResultEntry, shelf: RecordShelf) -> Iterator[str]:
    """Where both records are files at hand, a computed overlap is computed again."""
    evaluation = shelf.file(result.records_digest)
    if evaluation is None or result.overlap is None or result.overlap.how != "computed":
        return
    found = find_overlap(evaluation, entry.training.data, shelf)
    if found.how == "computed" and found != result.overlap:
        yield f"overlap: {result.overlap.images} images in the entry, {found.images} found"
