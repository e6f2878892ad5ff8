"""Runs of the toy config in child processes that a test may kill."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_runs import CONFIG, Runs


@pytest.fixture(scope="session")
def runs() -> Runs:
    return Runs()


@pytest.fixture(scope="session")
def toy_config() -> Path:
    return CONFIG


@pytest.fixture(scope="session")
def reference(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of an uninterrupted run of the toy config."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    runs.finish(folder)
    return folder
