"""``refkit config``: look at a config as the runner sees it."""

from __future__ import annotations

import typer

from refkit.cli.options import ConfigName, Overrides

app = typer.Typer(no_args_is_help=True, help="Show a config as it is after inheritance and overrides.")


@app.callback()
def config_group() -> None:
    """Show a config as it is after inheritance and overrides."""


@app.command()
def show(
    config: ConfigName,
    cfg_options: Overrides = None,
) -> None:
    """Print the resolved config as Python.

    Example: refkit config show refshapes/hivg_tiny --cfg-options train_dataloader.batch_size=32
    """
    from refkit.engine.config import load_config

    typer.echo(load_config(config, cfg_options or ()).pretty_text, nl=False)
