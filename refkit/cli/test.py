"""``refkit test``: evaluate weights on the test set of a config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def command(
    config: Annotated[str, typer.Argument(help="Config file, or its name relative to configs/.")],
    weights: Annotated[Path, typer.Argument(help="Checkpoint (.pth) or weights (.safetensors).")],
    work_dir: Annotated[
        Path | None, typer.Option(help="Predictions and results; default work_dirs/<config>/test.")
    ] = None,
    cfg_options: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Override a setting; repeat for several.")
    ] = None,
    launcher: Annotated[str, typer.Option(help="auto, none, pytorch, slurm or mpi.")] = "auto",
    data_root: Annotated[
        Path | None, typer.Option(help="Folder that relative data paths start from.")
    ] = None,
) -> None:
    """Evaluate weights on the test set of a config and print the metrics as JSON."""
    from mmengine.dist import is_main_process

    from refkit.engine.launch import prepare_config, test

    metrics = test(prepare_config(config, cfg_options or (), data_root), weights, work_dir, launcher)
    if is_main_process():
        typer.echo(json.dumps(metrics))
