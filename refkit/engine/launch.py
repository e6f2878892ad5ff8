"""Train or evaluate a config from start to end: what the command line and the tools call."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from refkit.engine.checkpoint import require_intact, trained_without
from refkit.engine.config import ConfigError, RefkitConfig, load_config
from refkit.engine.runner import build_runner


def prepare_config(
    path: str | Path,
    overrides: Sequence[str] = (),
    data_root: str | Path | None = None,
    seed: int | None = None,
    deterministic: bool = False,
) -> RefkitConfig:
    """Read a config and apply what the command line says.

    Args:
        path: file or name of a config.
        overrides: ``dotted.key=value`` strings.
        data_root: folder that relative data paths start from; set as ``REFKIT_DATA`` for this process and its
            workers.
        seed: of the whole run, in place of the config's.
        deterministic: refuse operations whose result can differ between two equal runs.

    Raises:
        ConfigError: see `load_config`.
    """
    if data_root is not None:
        set_data_root(data_root)
    config = load_config(path, overrides)
    randomness = dict(config.get("randomness") or {})
    if seed is not None:
        randomness["seed"] = seed
    if deterministic:
        randomness["deterministic"] = True
    config.randomness = randomness
    return config


def default_work_dir(config: RefkitConfig) -> Path:
    """``work_dirs/<name of the config>``, as OpenMMLab's tools have it."""
    return Path(config.get("work_dir") or Path("work_dirs") / Path(config.filename).stem)


def train(
    config: RefkitConfig,
    work_dir: str | Path | None = None,
    resume: bool = False,
    launcher: str = "auto",
    from_stage: str | None = None,
    until_stage: str | None = None,
) -> dict[str, float]:
    """Train as the config says; validate on the way.

    Args:
        config: from `prepare_config` or `load_config`.
        work_dir: where everything goes; by default `default_work_dir`.
        resume: continue the run in ``work_dir``.
        launcher: see `build_runner`.
        from_stage: of a config with stages, the first to train, by name or number from 1. It starts from the
            weights that the stage before it left in ``work_dir``, else from ``load_from``.
        until_stage: the last to train.

    Returns:
        Metrics of the last validation (empty without one). They are in ``run.json`` too.
    """
    folder = work_dir or default_work_dir(config)
    runner = build_runner(config, folder, resume, launcher, stages=(from_stage, until_stage))
    runner.train()
    return runner.last_metrics


def test(
    config: RefkitConfig,
    weights: str | Path,
    work_dir: str | Path | None = None,
    launcher: str = "auto",
) -> dict[str, float]:
    """Evaluate weights on the config's test set (its validation set where it has no test set).

    Args:
        config: from `prepare_config` or `load_config`.
        weights: a checkpoint or weights file; loaded strictly, ``load_allow_missing`` of the config names
            what may be absent.
        work_dir: where predictions and ``run.json`` go; by default ``<default_work_dir>/test``.
        launcher: see `build_runner`.

    Returns:
        The metrics.
    """
    if not Path(weights).is_file():
        raise ConfigError(f"{weights}: no such weights file")
    require_intact(Path(weights))
    _fall_back_to_validation(config)
    config.load_from = None
    runner = build_runner(
        config, work_dir or default_work_dir(config) / "test", launcher=launcher, training=False
    )
    with Path(weights).open("rb") as file:
        runner.evaluated_checkpoint = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    # Before the run starts: hooks that copy the model then (EMA) must copy these weights.
    runner.load_initial_weights(str(weights))
    if settle := getattr(runner.bare_model, "settle", None):
        settle(trained_without(weights))
    return runner.test()


def set_data_root(folder: str | Path) -> None:
    """Make ``folder`` the data root of this process and its workers.

    Raises:
        ConfigError: no such folder.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ConfigError(f"--data-root {folder}: no such folder")
    os.environ["REFKIT_DATA"] = str(path.resolve())


def _fall_back_to_validation(config: RefkitConfig) -> None:
    if config.get("test_dataloader") is not None:
        return
    if config.get("val_dataloader") is None:
        raise ConfigError(
            f"{config.filename}: has neither test_dataloader nor val_dataloader, nothing to evaluate"
        )
    config.test_dataloader, config.test_evaluator = config.val_dataloader, config.val_evaluator
    config.test_cfg = {
        "precision": (config.val_cfg or {}).get("precision", "float32"),
        "type": "FinalEvalLoop",
    }
