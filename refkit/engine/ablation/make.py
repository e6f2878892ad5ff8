"""Make a table: plan, say how long, run what is missing, write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from refkit.engine.ablation.budget import common_iterations, total_epochs
from refkit.engine.ablation.estimate import (
    describe_machine,
    duration,
    expected_seconds,
    iterations_for,
    measure_paces,
)
from refkit.engine.ablation.pool import Outcome, deal_cores, run_jobs
from refkit.engine.ablation.process import Job
from refkit.engine.ablation.report import Circumstances, write_report
from refkit.engine.ablation.run import Run, recipe
from refkit.engine.ablation.store import RunResult, Store
from refkit.engine.ablation.summary import RowSummary, summarise
from refkit.engine.ablation.table import Row, Table, TableError
from refkit.engine.run_record import git_state, now
from refkit.version import __version__

_LOG_LINES = 15


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


def make_table(
    table: Table, folder: str | Path, wishes: Wishes, tell: Callable[[str], object] = print
) -> list[RowSummary]:
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
    chosen = table.choose(wishes.only)
    iterations, budget = _decide_budget(table, wishes, store, tell)
    seeds = range(wishes.seeds or table.seeds)
    runs = [Run(row, seed, iterations) for seed in seeds for row in table.rows]
    prints = {run.name: run.fingerprint() for run in runs}
    kept = {run.name: store.result(run, prints[run.name]) for run in runs}
    missing = [run for run in runs if run.row in chosen and not _is_finished(kept[run.name])]
    if missing:
        _announce(missing, len(runs), store, wishes, tell, budget)
        for run, result in _run_all(missing, prints, store, wishes.jobs, tell):
            kept[run.name] = result
    else:
        tell(f"all {len(seeds) * len(chosen)} runs are finished, nothing to do")
    summaries = summarise(table.rows, table.metrics, [result for result in kept.values() if result])
    circumstances = Circumstances(budget, iterations, len(seeds), wishes.jobs, wishes.command)
    for path in write_report(store.folder, table, summaries, circumstances):
        tell(f"wrote {path}")
    return summaries


def _is_finished(result: RunResult | None) -> bool:
    return result is not None and result.finished


def _decide_budget(
    table: Table, wishes: Wishes, store: Store, tell: Callable[[str], object]
) -> tuple[int, str]:
    """Iterations of every run, and the budget in words."""
    epochs = [total_epochs(row.load()) for row in table.rows]
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


def _require_all(rows: Sequence[Row], paces: dict[str, object], store: Store) -> None:
    lacking = [row.name for row in rows if row.name not in paces]
    if lacking:
        raise TableError(
            f"a budget in seconds needs the pace of every row, but {', '.join(lacking)} failed: see the logs "
            f"in {store.folder / 'timing'}, or give a number of iterations"
        )


def _announce(
    missing: Sequence[Run],
    total: int,
    store: Store,
    wishes: Wishes,
    tell: Callable[[str], object],
    budget: str,
) -> None:
    """Say how long it will take, before it starts."""
    rows = list({run.row.name: run.row for run in missing}.values())
    places = deal_cores(wishes.jobs)
    if not places[0] and wishes.jobs > 1:
        tell(f"fewer cores than --jobs {wishes.jobs}: runs share them, and their seconds mean little")
    tell(f"{len(missing)} of {total} runs to do, {wishes.jobs} at a time; {budget}")
    paces = measure_paces(rows, store, wishes.jobs)
    for name, pace in paces.items():
        each = pace.seconds(missing[0].iterations)
        tell(f"  {name}: {1000 * pace.seconds_per_iteration:.0f} ms per iteration, {each:.0f} s per run")
    seconds = expected_seconds(missing, paces, wishes.jobs)
    told = "unknown, no row got through its first iterations" if seconds is None else duration(seconds)
    tell(f"expected duration: {told}")


def _run_all(
    runs: Sequence[Run],
    prints: Mapping[str, str],
    store: Store,
    parallel: int,
    tell: Callable[[str], object],
) -> Iterator[tuple[Run, RunResult]]:
    """Run everything with a bar over all iterations; each result is kept before it is given."""
    reached: dict[str, int] = {}
    bar = tqdm(
        total=sum(run.iterations for run in runs), unit="it", desc="runs", disable=None, smoothing=0.02
    )

    def report(job: Job, done: int) -> None:
        bar.update(done - reached.get(job.run.name, 0))
        reached[job.run.name] = done

    with bar:
        jobs = [store.job(run) for run in runs]
        for number, outcome in enumerate(run_jobs(jobs, deal_cores(parallel), report), start=1):
            run = outcome.job.run
            report(outcome.job, run.iterations)
            result = _result(outcome, prints[run.name], parallel)
            store.keep(result)
            bar.clear()
            tell(f"{number}/{len(runs)} {run.name}: {_told(result)}")
            yield run, result


def _result(outcome: Outcome, fingerprint: str, parallel: int) -> RunResult:
    """What is kept of a run that ended, well or not."""
    run, sent = outcome.job.run, outcome.result or {}
    return RunResult(
        row=run.row.name,
        seed=run.seed,
        iterations=run.iterations,
        fingerprint=fingerprint,
        recipe=recipe(run.row),
        status="finished" if outcome.result else "failed",
        metrics=sent.get("metrics", {}),
        seconds=sent.get("seconds", 0.0),
        seconds_per_iteration=sent.get("seconds_per_iteration", 0.0),
        threads=sent.get("threads", 0),
        parallel=parallel,
        ended=now(),
        machine=describe_machine(),
        code=_code(),
        reason="" if outcome.result else _reason(outcome),
    )


def _told(result: RunResult) -> str:
    """A finished or failed run in one line."""
    if not result.finished:
        return f"failed: {result.reason.splitlines()[-1]}"
    scores = ", ".join(f"{name} {value:.4f}" for name, value in list(result.metrics.items())[:5])
    return f"{result.seconds:.0f} s; {scores}"


def _reason(outcome: Outcome) -> str:
    """Why a run failed: how its process ended, and the last lines it printed."""
    code = outcome.exit_code
    end = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    log = outcome.job.log
    lines = log.read_text("utf-8", errors="replace").splitlines() if log.is_file() else []
    return "\n".join([f"{log.name}, {end}", *lines[-_LOG_LINES:]])


def _code() -> str:
    """Commit of the checkout, with a plus where files were changed; version of an installed package."""
    state = git_state()
    return f"{state['commit'][:12]}{'+' if state['modified'] else ''}" if state else f"refkit {__version__}"
