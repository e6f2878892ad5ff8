"""``refkit train``: train a model from a config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refkit.cli.options import ConfigName, DataRoot, Launcher, Overrides


def command(
    config: ConfigName,
    work_dir: Annotated[
        Path | None, typer.Option(help="Logs, checkpoints and results; default work_dirs/<config>.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the work directory.")] = False,
    cfg_options: Overrides = None,
    launcher: Launcher = "auto",
    data_root: DataRoot = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the whole run.")] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Refuse operations that vary between runs.")
    ] = False,
    from_stage: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|N",
            help="First stage to train, by name or number from 1; it starts from what the stage before it "
            "left in the work directory, else from load_from.",
        ),
    ] = None,
    until_stage: Annotated[
        str | None, typer.Option(metavar="NAME|N", help="Last stage to train; --resume goes on after it.")
    ] = None,
) -> None:
    """Train a model from a config (several processes: torchrun --nproc-per-node 2 tools/train.py CONFIG).

    Example: refkit train refshapes/hivg_tiny --work-dir work_dirs/hivg_tiny

    A config with stages is trained from the first to the last, or a part of them:

    refkit train hivg/hivg_base_refcoco --until-stage warm-up

    refkit train hivg/hivg_base_refcoco --from-stage hilora-1

    refkit train hivg/hivg_base_refcoco --from-stage 3 --cfg-options load_from=best.pth --work-dir DIR
    """
    from refkit.engine.launch import prepare_config, train

    prepared = prepare_config(config, cfg_options or (), data_root, seed, deterministic)
    train(prepared, work_dir, resume, launcher, from_stage, until_stage)
