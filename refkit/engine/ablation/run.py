"""One run of a table: which config, and the fingerprint that tells whether a finished run still counts."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from refkit.engine.ablation.budget import set_iterations
from refkit.engine.ablation.table import Row
from refkit.engine.config import ConfigError, RefkitConfig, find_file, leaves

_FILE_KEYS = ("weights", "load_from")


@dataclass(frozen=True)
class Run:
    """One training of one row.

    Attributes:
        row: what is trained.
        seed: of the whole run.
        iterations: the budget.
        start: the run that it begins with, None where the config says what it begins with.
        weights: the file that a start leaves to other runs, None for the runs of a row.
    """

    row: Row
    seed: int
    iterations: int
    start: Run | None = None
    weights: Path | None = None

    @property
    def name(self) -> str:
        """For logs: ``plain, seed 0``."""
        return f"{'start ' if self.weights else ''}{self.row.name}, seed {self.seed}"

    def config(self) -> RefkitConfig:
        """The config to train: the row's, with seed and budget.

        Raises:
            ConfigError, TableError: see `Row.load` and `set_iterations`.
        """
        config = self.row.load()
        config.randomness = {**(config.get("randomness") or {}), "seed": self.seed}
        set_iterations(config, self.iterations)
        if self.start is not None:
            config.load_from = str(self.start.weights)
        return config

    def fingerprint(self) -> str:
        """16 hex digits that change with any setting of the run and with what it starts from."""
        experiment = self.config().experiment()
        if self.start is not None:
            experiment["load_from"] = None
            experiment["start"] = self.start.fingerprint()
        return _digest(experiment)


def recipe(row: Row) -> str:
    """16 hex digits of what a row is, whatever seed and budget: equal recipes take equally long."""
    experiment = copy.deepcopy(row.load().experiment())
    experiment.pop("randomness", None)
    return _digest(experiment)


def _digest(experiment: dict[str, Any]) -> str:
    files = {
        place: _file_digest(value)
        for place, value in leaves(experiment)
        if place.rpartition(".")[2] in _FILE_KEYS and isinstance(value, str)
    }
    text = json.dumps([experiment, files], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file_digest(name: str) -> str:
    """Digest of a weights file; names of published models stand for themselves."""
    try:
        return _content_digest(find_file(name).resolve())
    except ConfigError:
        return name


@cache
def _content_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
