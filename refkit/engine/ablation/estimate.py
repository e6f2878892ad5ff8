"""How long a table will take: from runs that were finished before, otherwise from a few timed iterations."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence

import torch
from tqdm import tqdm

from refkit.engine.ablation.budget import total_epochs
from refkit.engine.ablation.pool import deal_cores, run_jobs
from refkit.engine.ablation.process import Job
from refkit.engine.ablation.run import Run, recipe
from refkit.engine.ablation.store import Pace, Store
from refkit.engine.ablation.table import Row, TableError
from refkit.engine.run_record import hardware

_TIMED_ITERATIONS = 12


def describe_machine() -> str:
    """Processor or accelerators, cores, memory, torch: what seconds depend on."""
    facts = hardware()
    gpus = "".join(f", {name}" for name in facts["gpus"])
    memory = f"{facts['memory_gib']:.0f} GiB"
    system = platform.system()
    return (
        f"{facts['processor']}, {facts['cores']} cores, {memory}{gpus}, torch {torch.__version__}, {system}"
    )


def measure_paces(rows: Sequence[Row], store: Store, parallel: int) -> dict[str, Pace]:
    """The pace of every row by name; what is not known yet is measured, ``parallel`` rows at a time.

    Raises:
        TableError: a row fails in its first iterations and no finished run tells its pace.
    """
    paces: dict[str, Pace] = {}
    unknown: list[Row] = []
    for row in rows:
        known = _known_pace(row, store, parallel)
        if known is None:
            unknown.append(row)
        else:
            paces[row.name] = known
    return paces | _measure(unknown, store, parallel)


def _known_pace(row: Row, store: Store, parallel: int) -> Pace | None:
    """From finished runs of the same recipe on this machine, else as measured before."""
    wanted = recipe(row), describe_machine(), parallel
    runs = [
        run
        for run in store.results()
        if run.finished and (run.recipe, run.machine, run.parallel) == wanted and run.seconds_per_iteration
    ]
    if runs:
        each = sum(run.seconds_per_iteration for run in runs) / len(runs)
        overhead = sum(run.seconds - run.iterations * run.seconds_per_iteration for run in runs) / len(runs)
        return Pace(*wanted, each, max(overhead, 0.0))
    measured = store.pace(row.name)
    if measured is not None and (measured.recipe, measured.machine, measured.parallel) == wanted:
        return measured
    return None


def _measure(rows: Sequence[Row], store: Store, parallel: int) -> dict[str, Pace]:
    jobs = [store.timing_job(Run(row, 0, _timed_iterations(row))) for row in rows]
    paces: dict[str, Pace] = {}
    bar = tqdm(total=len(jobs), desc="timing", unit="row", disable=None, leave=False)
    for outcome in run_jobs(jobs, deal_cores(parallel), lambda job, done: None):
        bar.update()
        row = outcome.job.run.row
        if outcome.result is None:
            bar.write(f"{row.name}: failed in its first iterations; see {outcome.job.log}")
            continue
        paces[row.name] = _pace(outcome.job, outcome.result, parallel)
        store.keep_pace(row.name, paces[row.name])
    bar.close()
    return paces


def _pace(job: Job, result: dict[str, float], parallel: int) -> Pace:
    each = result["seconds_per_iteration"]
    overhead = max(result["seconds"] - job.run.iterations * each, 0.0)
    return Pace(recipe(job.run.row), describe_machine(), parallel, each, overhead)


def _timed_iterations(row: Row) -> int:
    """A dozen or more: as many in every epoch, and with them in every stage."""
    epochs = total_epochs(row.load())
    return epochs * max(math.ceil(_TIMED_ITERATIONS / epochs), 2)


def iterations_for(seconds: float, paces: Sequence[Pace]) -> float:
    """The iterations that the slowest row can do in so many seconds.

    Raises:
        TableError: the time does not even suffice to start and evaluate.
    """
    left = [(seconds - pace.overhead) / pace.seconds_per_iteration for pace in paces]
    if min(left) < 1:
        least = max(pace.seconds(1) for pace in paces)
        raise TableError(
            f"a budget of {seconds:g} s leaves no time to train: starting and evaluating takes up to "
            f"{least:.0f} s"
        )
    return min(left)


def expected_seconds(runs: Sequence[Run], paces: dict[str, Pace], parallel: int) -> float | None:
    """Of all runs, ``parallel`` at a time; rows of unknown pace count as the mean of the others.

    None where no pace is known.
    """
    known = [paces[run.row.name].seconds(run.iterations) for run in runs if run.row.name in paces]
    if not known:
        return None
    unknown = len(runs) - len(known)
    total = sum(known) * (1 + unknown / len(known))
    return max(total / parallel, *known)


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``2 h 5 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
