"""What the command line wishes, and the budget that follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from refkit.engine.ablation.budget import common_iterations, total_epochs
from refkit.engine.ablation.estimate import iterations_for, measure_paces
from refkit.engine.ablation.outcomes import Tell
from refkit.engine.ablation.store import Store
from refkit.engine.ablation.table import Row, Table, TableError


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for beyond the table.

    Attributes:
        seeds: per row, in place of the table's.
        iterations: of a run, in place of the table's budget.
        seconds: of a run, in place of the table's budget.
        jobs: runs side by side.
        only: names of the rows to run; the written table shows all that is finished.
        command: to be stated with the table.
    """

    seeds: int | None = None
    iterations: int | None = None
    seconds: float | None = None
    jobs: int = 1
    only: Sequence[str] | None = None
    command: str = ""

    def __post_init__(self) -> None:
        for name in ("seeds", "iterations", "seconds", "jobs"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise TableError(f"{name}: expected more than 0, got {value}")
        if self.iterations is not None and self.seconds is not None:
            raise TableError("the budget is either iterations or seconds, not both")


def decide_budget(table: Table, wishes: Wishes, store: Store, tell: Tell) -> tuple[int, str]:
    """Iterations of every run of a row, and the budget in words.

    A budget in seconds is decided once for a folder, so that a table continued later does not mix budgets.

    Raises:
        TableError: too few seconds, or a row whose pace cannot be measured.
    """
    rows = [*table.rows, *(start.row for start in table.starts.values())]
    epochs = [total_epochs(row.load()) for row in rows]
    seconds = wishes.seconds or (None if wishes.iterations else table.seconds)
    if seconds is None:
        wanted = wishes.iterations or table.iterations
        assert wanted is not None
        iterations = common_iterations(wanted, epochs)
        if iterations != wanted:
            tell(f"{wanted} iterations are not a whole number for each epoch of every row: {iterations}")
        return iterations, f"{iterations} iterations per run, for all rows"
    decided = store.budget(seconds)
    if decided is None:
        paces = measure_paces(table.rows, store, wishes.jobs)
        _require_all(table.rows, paces, store)
        decided = common_iterations(iterations_for(seconds, list(paces.values())), epochs)
        store.keep_budget(seconds, decided)
    elif decided % common_iterations(1, epochs):
        raise TableError(
            f"{store.folder / 'budget.json'}: {seconds:g} s were decided to be {decided} iterations, which "
            "no longer fits the epochs of all rows; delete the file to decide anew"
        )
    return decided, f"{decided} iterations per run, for all rows: what the slowest does in {seconds:g} s"


def _require_all(rows: Sequence[Row], paces: Mapping[str, object], store: Store) -> None:
    lacking = [row.name for row in rows if row.name not in paces]
    if lacking:
        raise TableError(
            f"a budget in seconds needs the pace of every row, but {', '.join(lacking)} failed: see the logs "
            f"in {store.folder / 'timing'}, or give a number of iterations"
        )
