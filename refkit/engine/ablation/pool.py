"""Runs side by side, each in a fresh process with cores of its own."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

from refkit.engine.ablation.process import Job, execute

# Imported once, by the server that the processes are forked from: each run starts seconds earlier.
_PRELOAD = [
    "refkit.engine",
    "refkit.models",
    "refkit.data.dataset",
    "refkit.data.refshapes.dataset",
    "refkit.engine.ablation.process",
    "torch.utils.tensorboard",
]

Report = Callable[[Job, int], object]


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: which.
        result: what its process sent, None where it failed.
        exit_code: of the process; negative = killed by that signal.
    """

    job: Job
    result: dict[str, Any] | None
    exit_code: int


def deal_cores(jobs: int) -> list[tuple[int, ...]]:
    """The cores of each of ``jobs`` places: equal, disjoint shares of those this process may use.

    Empty shares (the system decides) where cores cannot be chosen, or where there are fewer than jobs.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [()] * jobs
    cores = sorted(os.sched_getaffinity(0))
    share = len(cores) // jobs
    return [tuple(cores[place * share : (place + 1) * share]) for place in range(jobs)]


def run_jobs(jobs: Sequence[Job], places: Sequence[tuple[int, ...]], report: Report) -> Iterator[Outcome]:
    """Run all jobs, as many at a time as there are places; gives each outcome as soon as it is known.

    When the caller stops (an exception, Ctrl-C), running processes are ended.

    Args:
        jobs: in the order in which they start.
        places: cores for each of the jobs that run side by side, see `deal_cores`.
        report: called with a job and its completed iterations.
    """
    context = _context()
    waiting, free = list(jobs), list(places)
    running: dict[Connection, tuple[Job, BaseProcess]] = {}
    results: dict[Connection, dict[str, Any]] = {}
    try:
        while waiting or running:
            while waiting and free:
                job = replace(waiting.pop(0), cores=free.pop(0))
                pipe, process = _start(context, job)
                running[pipe] = job, process
            for ready in wait(list(running)):
                pipe = cast(Connection, ready)
                job, process = running[pipe]
                message = _receive(pipe)
                if message is None:
                    process.join()
                    del running[pipe]
                    free.append(job.cores)
                    yield Outcome(job, results.get(pipe), process.exitcode or 0)
                elif message[0] == "iterations":
                    report(job, message[1])
                else:
                    results[pipe] = message[1]
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()


def _context() -> Any:
    """Processes forked from a clean server where there is such a thing, started from nothing elsewhere."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context


def _start(context: Any, job: Job) -> tuple[Connection, BaseProcess]:
    shutil.rmtree(job.work_dir, ignore_errors=True)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=execute, args=(job, sender), name=job.run.name)
    process.start()
    sender.close()
    return receiver, process


def _receive(pipe: Connection) -> tuple[str, Any] | None:
    """The next message; None once the process has ended."""
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return None
