"""Progress bars of the command line; they go to standard error and only to a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

Item = TypeVar("Item")


def track(items: Iterable[Item], total: int, title: str) -> Iterable[Item]:
    """The items, with a bar that shows how many of ``total`` are through."""
    console = Console(stderr=True)
    disable = not console.is_terminal
    return rich_track(items, description=title, total=total, console=console, transient=True, disable=disable)
