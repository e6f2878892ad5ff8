"""Make a table: say how long it takes, run what is missing, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from refkit.engine.ablation.estimate import duration, expected_seconds, measure_paces
from refkit.engine.ablation.outcomes import Planned, Tell, carry_out, make_result
from refkit.engine.ablation.plan import Wishes, decide_budget
from refkit.engine.ablation.pool import deal_cores
from refkit.engine.ablation.report import Circumstances, write_report
from refkit.engine.ablation.run import Run
from refkit.engine.ablation.store import RunResult, Store
from refkit.engine.ablation.summary import RowSummary, summarise
from refkit.engine.ablation.table import Table


@dataclass
class _Work:
    """The runs of a table: of its starts and of its rows, and what is kept of them.

    Attributes:
        starts: by name of the run.
        rows: by name of the run.
        kept: result by name of the run.
    """

    starts: dict[str, Planned] = field(default_factory=dict)
    rows: dict[str, Planned] = field(default_factory=dict)
    kept: dict[str, RunResult] = field(default_factory=dict)

    def add(self, plan: Planned, store: Store) -> None:
        """A run, with its result if there is one that counts."""
        (self.rows if plan.run.weights is None else self.starts)[plan.run.name] = plan
        kept = store.result(plan.run, plan.fingerprint)
        if kept is not None:
            self.kept[plan.run.name] = kept

    def lacking(self, plans: Sequence[Planned]) -> list[Planned]:
        """Those that have not been finished."""
        return [
            plan for plan in plans if plan.run.name not in self.kept or not self.kept[plan.run.name].finished
        ]

    def missing_starts(self, missing: Sequence[Planned]) -> list[Planned]:
        """The starts that missing runs of rows wait for."""
        needed = {plan.run.start.name for plan in missing if plan.run.start}
        return self.lacking([plan for name, plan in self.starts.items() if name in needed])


def make_table(table: Table, folder: str | Path, wishes: Wishes, tell: Tell = print) -> list[RowSummary]:
    """Run what a table lacks and write it.

    Finished runs with the same fingerprint are kept; failed ones are tried again.

    Args:
        table: see `read_table`.
        folder: of results; the same folder continues a table.
        wishes: of the caller.
        tell: gets lines for the reader: the expected duration, each run that ends, the written files.

    Returns:
        The rows as written. The table is complete and sound if no row has ``failed`` runs.

    Raises:
        TableError, ConfigError: table, row or wish that cannot be met; found before anything runs.
    """
    store = Store(folder)
    chosen = {row.name for row in table.choose(wishes.only)}
    iterations, budget = decide_budget(table, wishes, store, tell)
    seeds = range(wishes.seeds or table.seeds)
    work = _plan(table, seeds, iterations, store)
    missing = work.lacking([plan for plan in work.rows.values() if plan.run.row.name in chosen])
    if missing:
        _announce(missing, work, store, wishes.jobs, tell, budget)
        _run(missing, work, store, wishes.jobs, tell)
    else:
        tell(f"all {len(seeds) * len(chosen)} runs are finished, nothing to do")
    rows = summarise(table.rows, table.metrics, _results(work, work.rows))
    starts = [start.row for start in table.starts.values()]
    circumstances = Circumstances(budget, iterations, len(seeds), wishes.jobs, wishes.command)
    shared = summarise(starts, table.metrics, _results(work, work.starts))
    for path in write_report(store.folder, table, rows, shared, circumstances):
        tell(f"wrote {path}")
    return rows


def _plan(table: Table, seeds: Sequence[int], iterations: int, store: Store) -> _Work:
    """All runs of a table; a config that cannot be read or cannot follow the budget is found here."""
    work = _Work()
    for seed in seeds:
        starts: dict[str, Run] = {}
        for name, start in table.starts.items():
            file = store.weights(name, seed).absolute()
            starts[name] = Run(start.row, seed, start.times * iterations, weights=file)
            work.add(Planned.of(starts[name]), store)
        for row in table.rows:
            begin = starts[row.start] if row.start is not None else None
            work.add(Planned.of(Run(row, seed, iterations, start=begin)), store)
    return work


def _announce(
    missing: Sequence[Planned], work: _Work, store: Store, parallel: int, tell: Tell, budget: str
) -> None:
    """Say how long it will take, before it starts."""
    runs = [plan.run for plan in (*work.missing_starts(missing), *missing)]
    if parallel > 1 and not deal_cores(parallel)[0]:
        tell(f"fewer cores than --jobs {parallel}: runs share them, and their seconds mean little")
    first = f", first {len(runs) - len(missing)} for their starts" if len(runs) > len(missing) else ""
    tell(f"{len(missing)} of {len(work.rows)} runs to do{first}; {parallel} at a time; {budget}")
    paces = measure_paces(list({run.row.name: run.row for run in runs}.values()), store, parallel)
    iterations = {run.row.name: run.iterations for run in runs}
    for name, pace in paces.items():
        each = duration(pace.seconds(iterations[name]))
        tell(f"  {name}: {1000 * pace.seconds_per_iteration:.0f} ms per iteration, {each} per run")
    seconds = expected_seconds(runs, paces, parallel)
    told = "unknown, no row got through its first iterations" if seconds is None else duration(seconds)
    tell(f"expected duration: {told}")


def _run(missing: Sequence[Planned], work: _Work, store: Store, parallel: int, tell: Tell) -> None:
    """The starts that are waited for, then the runs; those whose start failed have failed with it."""
    for run, result in carry_out(work.missing_starts(missing), store, parallel, tell):
        work.kept[run.name] = result
    ready: list[Planned] = []
    for plan in missing:
        start = plan.run.start
        if start is None or work.kept[start.name].finished:
            ready.append(plan)
            continue
        reason = f"{start.name} failed:\n{work.kept[start.name].reason}"
        work.kept[plan.run.name] = make_result(plan.run, plan.fingerprint, parallel, None, reason)
        store.keep(plan.run, work.kept[plan.run.name])
    for run, result in carry_out(ready, store, parallel, tell):
        work.kept[run.name] = result


def _results(work: _Work, plans: dict[str, Planned]) -> list[RunResult]:
    return [work.kept[name] for name in plans if name in work.kept]
