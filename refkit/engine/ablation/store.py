"""The folder of a table: one JSON file for every run that has ended, its log, and measured paces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from refkit.data.files import atomic_write
from refkit.engine.ablation.process import Job
from refkit.engine.ablation.run import Run
from refkit.engine.ablation.table import TableError

Entry = TypeVar("Entry", "RunResult", "Pace")


@dataclass(frozen=True)
class RunResult:
    """What is kept of a run.

    Attributes:
        row: name of the row.
        seed: of the run.
        iterations: trained.
        fingerprint: see `Run.fingerprint`.
        recipe: see `recipe`.
        status: ``finished`` or ``failed``.
        metrics: all of the last validation; empty if it failed.
        seconds: of the whole run, from reading the config to the last metric.
        seconds_per_iteration: in training.
        threads: of torch.
        parallel: how many runs went on side by side.
        ended: when, UTC.
        machine: see `describe_machine`.
        code: commit of the checkout (``+`` after it: with changes), or version of the package.
        reason: why it failed, with the last lines of its log.
    """

    row: str
    seed: int
    iterations: int
    fingerprint: str
    recipe: str
    status: str
    metrics: dict[str, float]
    seconds: float
    seconds_per_iteration: float
    threads: int
    parallel: int
    ended: str
    machine: str
    code: str
    reason: str = ""

    @property
    def finished(self) -> bool:
        """Whether its metrics count."""
        return self.status == "finished"


@dataclass(frozen=True)
class Pace:
    """How fast the runs of a row are.

    Attributes:
        recipe: of the row.
        machine: see `describe_machine`.
        parallel: how many runs went on side by side.
        seconds_per_iteration: of training.
        overhead: seconds of a run beside that: start, evaluation.
    """

    recipe: str
    machine: str
    parallel: int
    seconds_per_iteration: float
    overhead: float

    def seconds(self, iterations: int) -> float:
        """Expected duration of a run."""
        return self.overhead + iterations * self.seconds_per_iteration


class Store:
    """Reads and writes the folder of one table.

    Args:
        folder: made when something is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()

    def job(self, run: Run) -> Job:
        """Where a run takes place."""
        base = self._base(run)
        return Job(run, base, base.with_name(f"{base.name}.log"))

    def weights(self, row: str, seed: int) -> Path:
        """The file that a start leaves to the runs that begin with it."""
        return self.folder / "starts" / row / f"seed{seed}.weights.pth"

    def timing_job(self, run: Run) -> Job:
        """Where a short run takes place that only measures the pace of a row."""
        folder = self.folder / "timing"
        return Job(run, folder / run.row.name, folder / f"{run.row.name}.log")

    def result(self, run: Run, fingerprint: str) -> RunResult | None:
        """What is kept of a run of this row and seed, if it has this fingerprint."""
        kept = _read(self._result_file(run), RunResult)
        lost = run.weights is not None and not run.weights.is_file()
        return kept if kept is not None and kept.fingerprint == fingerprint and not lost else None

    def results(self) -> Iterator[RunResult]:
        """Everything that is kept, whatever its settings."""
        for file in sorted(self.folder.glob("*/*/seed*.json")):
            kept = _read(file, RunResult)
            if kept is not None:
                yield kept

    def keep(self, run: Run, result: RunResult) -> None:
        """Keep the result of a run in place of an earlier one of its row and seed."""
        _write(self._result_file(run), result)

    def pace(self, row: str) -> Pace | None:
        """The pace that was measured for a row, if any."""
        return _read(self.folder / "timing" / f"{row}.json", Pace)

    def keep_pace(self, row: str, pace: Pace) -> None:
        """Keep a measured pace."""
        _write(self.folder / "timing" / f"{row}.json", pace)

    def budget(self, seconds: float) -> int | None:
        """The iterations that were decided for a budget in seconds, if it was decided before."""
        return self._budgets().get(f"{seconds:g}")

    def keep_budget(self, seconds: float, iterations: int) -> None:
        """Keep them: a table continued later must not mix budgets."""
        decided = self._budgets() | {f"{seconds:g}": iterations}
        atomic_write(self.folder / "budget.json", json.dumps(decided, indent=2) + "\n")

    def _budgets(self) -> dict[str, int]:
        file = self.folder / "budget.json"
        return _load(file) if file.is_file() else {}

    def _base(self, run: Run) -> Path:
        kind = "runs" if run.weights is None else "starts"
        return self.folder / kind / run.row.name / f"seed{run.seed}"

    def _result_file(self, run: Run) -> Path:
        base = self._base(run)
        return base.with_name(f"{base.name}.json")


def _read(file: Path, kind: type[Entry]) -> Entry | None:
    if not file.is_file():
        return None
    content = _load(file)
    try:
        return kind(**content)
    except TypeError as error:
        raise TableError(
            f"{file}: written by another version ({error}); delete it to run this again"
        ) from None


def _load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
        if isinstance(content, dict):
            return content
        problem = "not a JSON object"
    except ValueError as error:
        problem = str(error)
    raise TableError(f"{file}: damaged ({problem}); delete it to run this again")


def _write(file: Path, entry: RunResult | Pace) -> None:
    atomic_write(file, json.dumps(asdict(entry), indent=2, ensure_ascii=False) + "\n")
