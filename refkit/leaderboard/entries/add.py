"""`refkit leaderboard add`: a prediction file is scored, kept below the leaderboard, and becomes an entry."""

from __future__ import annotations

import datetime
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from refkit.data.files import atomic_open, is_gzip
from refkit.data.record_scan import RecordScan
from refkit.data.records import read_records
from refkit.leaderboard.entries.files import EntryError, explain, read_entry, slug, write_entry
from refkit.leaderboard.entries.overlap import find_overlap
from refkit.leaderboard.entries.schema import FORMAT, Entry, Overlap, ResultEntry, TrainingSet
from refkit.leaderboard.entries.sources import RecordShelf, drawn_of
from refkit.leaderboard.predictions import PredictionHeader, write_predictions
from refkit.leaderboard.result import Result
from refkit.leaderboard.scoring import DRAWS, score
from refkit.metrics.baselines import baseline_predictions, usable_baselines
from refkit.version import __version__

LARGEST_PREDICTIONS = 1 << 30


@dataclass(frozen=True, slots=True)
class MethodCard:
    """What nobody can read off a prediction file.

    Attributes:
        method: its name.
        setting: one of `SETTINGS`.
        status: ``reproduced``, or ``verified`` when a second party scored the file.
        variant: what sets it apart from others of that name.
        paper: fields of the entry's ``paper``.
        model: fields of the entry's ``model``.
        trained_on: the training records.
        pretraining: in words.
        declared_overlap: evaluation images that are training images, as the authors say.
        notes: remarks for the page.
        file_name: of the entry; made from method and variant by default.
    """

    method: str
    setting: str
    status: str = "reproduced"
    variant: str | None = None
    paper: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    trained_on: tuple[TrainingSet, ...] = ()
    pretraining: str | None = None
    declared_overlap: int | None = None
    notes: tuple[str, ...] = ()
    file_name: str | None = None

    @property
    def name(self) -> str:
        """File name of the entry, without ending."""
        return slug(self.file_name or " ".join(filter(None, (self.method, self.variant))))


def add_predictions(
    folder: Path,
    records: str | os.PathLike[str],
    predictions: str | os.PathLike[str],
    card: MethodCard,
    protocol: str = "rec/1",
    shelf: RecordShelf | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[Path, Result]:
    """Score a prediction file and write or extend the entry of its method.

    A result of the same records and protocol is replaced; other results of the entry stay.

    Args:
        folder: of the leaderboard.
        records: what was answered.
        predictions: the answers; copied below ``folder``.
        card: what to say about the method.
        protocol: how to score.
        shelf: where training records are looked for.
        draws: of the image bootstrap; kept with the result.
        seed: of the image bootstrap; kept with the result.

    Returns:
        The entry's file, and the score.

    Raises:
        EntryError: a field that the schema refuses, an entry of that name about something else, or a
            prediction file that is too large to keep.
        ValueError: as `score` raises for files that do not fit.
    """
    size = Path(predictions).stat().st_size
    if size > LARGEST_PREDICTIONS:
        raise EntryError(
            f"{predictions}: {size:,} bytes; a leaderboard keeps files up to {LARGEST_PREDICTIONS:,}"
        )
    result = score(records, predictions, protocol, draws=draws, seed=seed)
    overlap = find_overlap(records, card.trained_on, shelf or RecordShelf(), card.declared_overlap)
    task = protocol.partition("/")[0]
    kept = _kept_name(task, card.name, result, predictions)
    entry = _entry(card, task, _result_fields(result, Path(records), overlap, kept))
    path = folder / task / f"{card.name}.yaml"
    if path.exists():
        entry = _extended(read_entry(path).entry, entry, path)
    _keep(predictions, folder / kept)
    return write_entry(folder, card.name, entry), result


def add_baselines(
    folder: Path, records: Path, setting: str, protocol: str = "rec/1", draws: int = DRAWS, seed: int = 0
) -> Iterator[tuple[Path, Result]]:
    """The trivial predictors as entries beside a method: what any number has to be compared with.

    They were trained on nothing, so their overlap is zero in every setting.
    """
    header, truth = read_records(records)
    for name in usable_baselines(truth[0]) if truth else ():
        answers = baseline_predictions(name, truth, seed)
        card = MethodCard(
            f"trivial: {name}", setting, declared_overlap=0, notes=("Looks at no pixel and no word.",)
        )
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "baseline.jsonl.gz"
            write_predictions(path, PredictionHeader.answering(header, card.method), answers)
            yield add_predictions(folder, records, path, card, protocol, draws=draws, seed=seed)


def result_values(result: Result) -> dict[str, Any]:
    """The ``value`` of an entry: metrics, intervals, coverage and the share of invalid answers."""
    values: dict[str, Any] = {}
    for name, metric in result.metrics.items():
        if math.isnan(metric.value):
            continue
        values[name] = float(metric.value)
        if metric.interval is not None:
            values[f"{name}_interval"] = tuple(map(float, metric.interval))
    return values | {"coverage": result.coverage, "invalid": result.invalid_share}


def _kept_name(task: str, name: str, result: Result, predictions: str | os.PathLike[str]) -> str:
    """Where the copy goes; the digest tells files of equally named records apart."""
    ending = ".jsonl.gz" if is_gzip(predictions) else ".jsonl"
    return f"predictions/{task}/{name}/{result.records}.{result.records_digest[7:15]}{ending}"


def _keep(predictions: str | os.PathLike[str], kept: Path) -> None:
    """Copy byte by byte: the entry carries the SHA-256 of what was scored."""
    with Path(predictions).open("rb") as source, atomic_open(kept) as target:
        shutil.copyfileobj(source, target)


def _result_fields(result: Result, records: Path, overlap: Overlap, kept: str) -> dict[str, Any]:
    return {
        "records": result.records,
        "records_digest": result.records_digest,
        "protocol": result.protocol.id,
        "value": result_values(result),
        "predictions": {"file": kept, "sha256": result.predictions.removeprefix("sha256:")},
        "overlap": overlap,
        "drawn": drawn_of(RecordScan(records).header),
        "bootstrap": {"draws": result.draws, "seed": result.seed},
    }


def _entry(card: MethodCard, task: str, result: Mapping[str, Any]) -> Entry:
    fields = {
        "format": FORMAT,
        "task": task,
        "method": card.method,
        "variant": card.variant,
        "paper": dict(card.paper),
        "model": dict(card.model),
        "training": {
            "setting": card.setting,
            "data": list(card.trained_on),
            "pretraining": card.pretraining,
        },
        "status": card.status,
        "results": [dict(result)],
        "notes": list(card.notes),
        "refkit": __version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    try:
        return Entry.model_validate(fields)
    except ValidationError as error:
        raise EntryError(explain(error)) from None


def _extended(old: Entry, new: Entry, path: Path) -> Entry:
    """The old results, less the one that is replaced, and the new one; the card is the new one."""
    for name in ("method", "variant", "status"):
        if getattr(old, name) != getattr(new, name):
            raise EntryError(
                f"{path}: {name}: this entry says {getattr(old, name)!r}, not {getattr(new, name)!r}; "
                "choose another name with --name"
            )
    if old.training.setting != new.training.setting:
        raise EntryError(
            f"{path}: training.setting: this entry says {old.training.setting!r}; choose another --name"
        )
    added = new.results[0]
    kept = [result for result in old.results if _board(result) != _board(added)]
    return new.model_copy(update={"results": sorted([*kept, added], key=_board)})


def _board(result: ResultEntry) -> tuple[str, str, str]:
    return result.records, result.records_digest or "", result.protocol or ""
