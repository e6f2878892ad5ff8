"""Shared fixtures: where the optional material beside the checkout is, and one thread per test process."""

from __future__ import annotations

import os
import shutil
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


@pytest.fixture(scope="module")
def module_without_java():
    """METEOR takes half a minute and stays out; a program that another test has started is forgotten."""
    from refkit.metrics import meteor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "which", lambda name: None)
        meteor._program.cache_clear()
        yield
