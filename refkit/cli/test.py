"""``refkit test``: evaluate weights on the test set of a config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from refkit.cli.options import ConfigName, DataRoot, Launcher, Overrides


def command(
    config: ConfigName,
    weights: Annotated[Path, typer.Argument(help="Checkpoint (.pth) or weights (.safetensors).")],
    work_dir: Annotated[
        Path | None, typer.Option(help="Predictions and results; default work_dirs/<config>/test.")
    ] = None,
    cfg_options: Overrides = None,
    launcher: Launcher = "auto",
    data_root: DataRoot = None,
) -> None:
    """Evaluate weights on the test set of a config and print the metrics as JSON.

    Example: refkit test refshapes/hivg_tiny model_zoo/refshapes/hivg_tiny.safetensors
    """
    from mmengine.dist import is_main_process

    from refkit.engine.launch import prepare_config, test

    metrics = test(prepare_config(config, cfg_options or (), data_root), weights, work_dir, launcher)
    if is_main_process():
        typer.echo(json.dumps(metrics))
