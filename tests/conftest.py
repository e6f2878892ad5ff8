"""Shared fixtures: where the optional material beside the checkout is, and one thread per test process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ``shared`` beside the checkout (or ``REFKIT_SHARED``): real annotations and reference numbers."""
    folder = Path(os.environ.get("REFKIT_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("the folder 'shared' is not beside this checkout")
    return folder


@contextmanager
def hidden_java() -> Iterator[None]:
    """No Java on the search path; METEOR's program, should an earlier test have started it, waits behind."""
    from refkit.metrics import meteor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "which", lambda name: None)
        patch.setattr(meteor, "_program", lru_cache(meteor._program.__wrapped__))
        yield


@pytest.fixture
def without_java() -> Iterator[None]:
    """A machine without Java."""
    with hidden_java():
        yield


@pytest.fixture(scope="module")
def module_without_java() -> Iterator[None]:
    """The same for all tests of a file: METEOR takes half a minute there and says nothing."""
    with hidden_java():
        yield
