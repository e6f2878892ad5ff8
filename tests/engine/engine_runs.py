"""Training processes that a test may kill. Not in conftest: processes find functions by their module's name."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONFIG = HERE / "engine_toy_config.py"


def _train(
    config: Path,
    work_dir: str,
    overrides: list[str],
    resume: bool,
    stages: tuple,
    environment: dict[str, str],
) -> None:
    log = os.open(f"{work_dir}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(environment)
    from refkit.engine.launch import prepare_config, train

    train(prepare_config(config, overrides, deterministic=True), work_dir, resume, "auto", *stages)


class Runs:
    """Starts training processes from a server that has everything imported; each costs a second, not six."""

    def __init__(self, config: Path = CONFIG) -> None:
        self.config = config
        sys.path.insert(0, str(HERE))
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(
            ["refkit.engine", "engine_toy", "refkit.data.dataset", "tensorboard"]
        )

    def start(
        self, work_dir: Path, *overrides: str, resume: bool = False, stages: tuple = (), **environment: str
    ):
        arguments = (self.config, str(work_dir), list(overrides), resume, stages, environment)
        process = self.context.Process(target=_train, args=arguments)
        process.start()
        return process

    def finish(
        self, work_dir: Path, *overrides: str, resume: bool = False, stages: tuple = (), **environment: str
    ) -> None:
        process = self.start(work_dir, *overrides, resume=resume, stages=stages, **environment)
        process.join(60)
        assert process.exitcode == 0, self.log(work_dir)

    def die(self, work_dir: Path, *overrides: str, resume: bool = False, **environment: str) -> None:
        """A run that kills itself as ``kill -9`` would, at the moment that the environment names."""
        process = self.start(work_dir, *overrides, resume=resume, **environment)
        process.join(60)
        assert process.exitcode == -signal.SIGKILL, self.log(work_dir)

    def kill_after(self, seconds: float, work_dir: Path, *overrides: str, resume: bool = False) -> bool:
        """Kill a run from outside; whether it was still running."""
        process = self.start(work_dir, *overrides, resume=resume)
        time.sleep(seconds)
        running = process.is_alive()
        if running:
            os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        return running

    @staticmethod
    def log(work_dir: Path) -> str:
        return Path(f"{work_dir}.log").read_text()
