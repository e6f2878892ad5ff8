"""Runs become results: carried out with a bar, kept as they end, told in a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from refkit.engine.ablation.estimate import describe_machine
from refkit.engine.ablation.pool import Outcome, deal_cores, run_jobs
from refkit.engine.ablation.process import Job
from refkit.engine.ablation.run import Run, recipe
from refkit.engine.ablation.store import RunResult, Store
from refkit.engine.run_record import git_state, now
from refkit.version import __version__

Tell = Callable[[str], object]

_LOG_LINES = 15


@dataclass(frozen=True)
class Planned:
    """A run with its fingerprint, which takes a while to find.

    Attributes:
        run: which.
        fingerprint: its own, see `Run.fingerprint`.
    """

    run: Run
    fingerprint: str

    @classmethod
    def of(cls, run: Run) -> Planned:
        """The run, once its config was found to be sound."""
        return cls(run, run.fingerprint())


def carry_out(
    planned: Sequence[Planned], store: Store, parallel: int, tell: Tell
) -> Iterator[tuple[Run, RunResult]]:
    """Run everything with a bar over all iterations; each result is kept before it is given."""
    prints = {plan.run.name: plan.fingerprint for plan in planned}
    total = sum(plan.run.iterations for plan in planned)
    reached: dict[str, int] = {}
    bar = tqdm(total=total, unit="it", desc="runs", disable=None, smoothing=0.02)

    def report(job: Job, done: int) -> None:
        bar.update(done - reached.get(job.run.name, 0))
        reached[job.run.name] = done

    with bar:
        jobs = [store.job(plan.run) for plan in planned]
        for number, outcome in enumerate(run_jobs(jobs, deal_cores(parallel), report), start=1):
            run = outcome.job.run
            report(outcome.job, run.iterations)
            reason = "" if outcome.result else _reason(outcome)
            result = make_result(run, prints[run.name], parallel, outcome.result, reason)
            store.keep(run, result)
            bar.clear()
            tell(f"{number}/{len(planned)} {run.name}: {_told(result)}")
            yield run, result


def make_result(
    run: Run, fingerprint: str, parallel: int, sent: dict[str, Any] | None, reason: str = ""
) -> RunResult:
    """What is kept of a run that ended.

    Args:
        run: which.
        fingerprint: its own.
        parallel: how many runs went on side by side.
        sent: by its process, None if it failed.
        reason: why it failed.
    """
    facts = sent or {}
    return RunResult(
        row=run.row.name,
        seed=run.seed,
        iterations=run.iterations,
        fingerprint=fingerprint,
        recipe=recipe(run.row),
        status="finished" if sent else "failed",
        metrics=facts.get("metrics", {}),
        seconds=facts.get("seconds", 0.0),
        seconds_per_iteration=facts.get("seconds_per_iteration", 0.0),
        threads=facts.get("threads", 0),
        parallel=parallel,
        ended=now(),
        machine=describe_machine(),
        code=_code(),
        reason=reason,
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
