"""A limit for what must end at all: a reader that runs away on hostile text fails its test, and hangs no run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

SECONDS = 120
"""Far above what any of the tests needs on a busy machine; how fast something is, benchmarks say."""


@contextmanager
def must_end(what: str) -> Iterator[None]:
    """Raises TimeoutError in the block when it does not end (main thread, systems with SIGALRM)."""

    def give_up(*_: object) -> NoReturn:
        raise TimeoutError(f"{what}: no end after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
