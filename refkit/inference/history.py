"""How validation went while a model was trained, read from ``run.json`` of its work folder."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PREFERRED = "rec/acc50"


class HistoryError(ValueError):
    """A ``run.json`` that cannot be read, or that holds nothing to draw."""


@dataclass(frozen=True, slots=True)
class Validation:
    """One validation of a training run.

    Attributes:
        epoch: completed epochs of the whole run.
        stage: name of the training stage; empty in a run without stages.
        metrics: by name, as in ``rec/acc50``.
    """

    epoch: int
    stage: str
    metrics: dict[str, float]


def read_history(work_dir: str | os.PathLike[str]) -> list[Validation]:
    """All validations of a training run, by epoch.

    Args:
        work_dir: of `refkit train`.

    Returns:
        Empty where the folder has no ``run.json`` or nothing was validated.

    Raises:
        HistoryError: ``run.json`` is not what `refkit train` writes.
    """
    path = Path(work_dir) / "run.json"
    if not path.is_file():
        return []
    try:
        entries = json.loads(path.read_text("utf-8")).get("history", [])
        found = [Validation(entry["epoch"], entry["stage"], entry["metrics"]) for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HistoryError(f"{path}: not the record of a training run ({error!r}); move it away") from error
    return sorted(found, key=lambda validation: validation.epoch)


def main_metric(history: Sequence[Validation]) -> str | None:
    """The metric to look at first: Acc@0.5 if there is one, else the first one logged; None without any."""
    names = [name for validation in history for name in validation.metrics]
    return _PREFERRED if _PREFERRED in names else next(iter(names), None)
