"""How validation went while a model was trained, read from the logs of its work folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LOGS = "*/vis_data/scalars.json"
_PREFERRED = "rec/acc50"


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
    """All validations that the logs of a work folder hold, by epoch.

    A run that was interrupted and resumed left one log per process; where two of them validated the same
    epoch, the later one counts. Lines that a kill cut short are passed over.

    Args:
        work_dir: of `refkit train`.

    Returns:
        Empty where the folder has no logs or nothing was validated.
    """
    found: dict[int, Validation] = {}
    for log in sorted(Path(work_dir).glob(_LOGS)):
        found.update((validation.epoch, validation) for validation in _validations(log))
    return [found[epoch] for epoch in sorted(found)]


def main_metric(history: Sequence[Validation]) -> str | None:
    """The metric to look at first: Acc@0.5 if there is one, else the first one logged; None without any."""
    names = [name for validation in history for name in validation.metrics]
    return _PREFERRED if _PREFERRED in names else next(iter(names), None)


def _validations(log: Path) -> Iterator[Validation]:
    stage = ""
    for line in log.read_text("utf-8", errors="replace").splitlines():
        fields = _parsed(line)
        stage = str(fields.get("stage", stage))
        # Metrics carry the name of their protocol (rec/acc50); losses and rates of training have no slash.
        metrics = {
            name: float(value)
            for name, value in fields.items()
            if "/" in name and isinstance(value, int | float)
        }
        if metrics and "step" in fields:
            yield Validation(int(fields["step"]), stage, metrics)


def _parsed(line: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}
