"""One prediction file under every protocol that fits its records: the fastest answer to "why is my number
different"."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from tqdm import tqdm

from refkit.data.records import read_records
from refkit.leaderboard.fitting_table import FittingTable, Row
from refkit.leaderboard.predictions import PredictionFile, load_predictions
from refkit.leaderboard.report import percent
from refkit.leaderboard.result import Result
from refkit.leaderboard.scoring import DRAWS, ScoringError, score
from refkit.metrics.protocol import Protocol, ProtocolError, protocols

FORMAT = "refkit.results/1"
BAR: dict[str, Any] = {"unit": " protocols", "delay": 2.0, "disable": None, "leave": False}


@dataclass(frozen=True, slots=True, eq=False)
class SideBySide:
    """The scores of one prediction file by protocol.

    Attributes:
        results: by id of the protocol, at least one.
        skipped: why other protocols for the same task cannot score these records or answers, by id.
    """

    results: Mapping[str, Result]
    skipped: Mapping[str, str]


def score_all(
    records: str | os.PathLike[str],
    predictions: str | os.PathLike[str],
    *,
    allow_partial: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> SideBySide:
    """Score a prediction file under every protocol for the tasks that the records state.

    Both files are read once.

    Args:
        records: a records file.
        predictions: a prediction file.
        allow_partial: leave unanswered records out.
        draws: of the image bootstrap.
        seed: of the image bootstrap.

    Raises:
        ScoringError: as for `score`, or no protocol can score these records and answers.
        RecordError: a records file that is broken or was changed.
        PredictionError: a prediction file that is broken.
        AnswerError: a prediction that contradicts its record.
    """
    header, truth = read_records(records)
    answers = load_predictions(predictions)
    chosen = [protocol for protocol in protocols().values() if protocol.task in header.task]
    results: dict[str, Result] = {}
    skipped: dict[str, str] = {}
    for protocol in tqdm(chosen, "protocols", **BAR):
        if not answers_with(protocol, answers):
            skipped[protocol.id] = f"no prediction has {protocol.answer}"
            continue
        try:
            results[protocol.id] = score(
                (header, truth), answers, protocol.id, allow_partial=allow_partial, draws=draws, seed=seed
            )
        except ProtocolError as error:
            skipped[protocol.id] = str(error)
    if not results:
        raise ScoringError(_nothing(records, header.task, skipped))
    return SideBySide(results, skipped)


def answers_with(protocol: Protocol, answers: PredictionFile) -> bool:
    """Whether any prediction holds what a protocol reads."""
    return any(getattr(one, protocol.answer) is not None for one in answers.predictions.values())


def _nothing(records: str | os.PathLike[str], tasks: Iterable[str], skipped: Mapping[str, str]) -> str:
    reasons = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in _by_reason(skipped).items())
    return f"{os.fspath(records)}: no protocol for {', '.join(tasks)} can score this" + (
        f" ({reasons})" if reasons else ""
    )


def all_to_json(scored: SideBySide) -> str:
    """The JSON text of all results; equal inputs give equal bytes."""
    fields = {
        "format": FORMAT,
        "results": {identifier: result.to_json() for identifier, result in scored.results.items()},
        "skipped": dict(scored.skipped),
    }
    return json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def render_all(scored: SideBySide) -> RenderableType:
    """One table per family of protocols; reasons and warnings below."""
    first = next(iter(scored.results.values()))
    head = (
        f"[bold]{escape(first.model)}[/bold] on [bold]{escape(first.records)}[/bold]\n"
        f"{first.scored:,} records on {first.images:,} images · "
        f"coverage {first.answered:,}/{first.expected:,}"
    )
    families = dict.fromkeys(identifier.partition("/")[0] for identifier in scored.results)
    parts: list[RenderableType] = [head, *(_family_table(family, scored.results) for family in families)]
    parts += [
        f"[dim]not scored under {', '.join(names)}: {escape(reason)}[/dim]"
        for reason, names in _by_reason(scored.skipped).items()
    ]
    warnings = dict.fromkeys(one for result in scored.results.values() for one in result.warnings)
    return Group(*parts, *(f"[yellow]Warning:[/yellow] {escape(warning)}" for warning in warnings))


def _by_reason(skipped: Mapping[str, str]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for identifier, reason in skipped.items():
        reasons.setdefault(reason, []).append(identifier)
    return reasons


def _family_table(family: str, results: Mapping[str, Result]) -> FittingTable:
    """One line per protocol, or one per metric where these are more."""
    members = {name: result for name, result in results.items() if name.partition("/")[0] == family}
    labels = {key: label for result in members.values() for key, label in result.protocol.labels.items()}
    rows = [["protocol", *map(escape, labels.values()), "invalid"]]
    for name, result in members.items():
        numbers = [
            percent(metric if place == 0 else replace(metric, interval=None)) if metric else ""
            for place, metric in enumerate(map(result.metrics.get, labels))
        ]
        rows.append([name, *numbers, f"{result.invalid:,}"])
    if len(members) < len(labels):
        rows = [list(column) for column in zip(*rows, strict=True)]
    title = "percent; 95 % interval of the first metric by image bootstrap"
    return FittingTable(title, rows[0], [Row(row) for row in rows[1:]])
