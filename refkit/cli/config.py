"""``refkit config``: look at a config as the runner sees it."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Show a config as it is after inheritance and overrides.")


@app.callback()
def config_group() -> None:
    """Show a config as it is after inheritance and overrides."""


@app.command()
def show(
    config: Annotated[str, typer.Argument(help="Config file, or its name relative to configs/.")],
    cfg_options: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Override a setting; repeat for several.")
    ] = None,
) -> None:
    """Print the resolved config as Python."""
    from refkit.engine.config import load_config

    typer.echo(load_config(config, cfg_options or ()).pretty_text, nl=False)
