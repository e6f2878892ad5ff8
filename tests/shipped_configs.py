"""Shipped configs by name, each read once, and what their headers say."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from refkit.engine.config import RefkitConfig, load_config

CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "configs"


@dataclass(frozen=True)
class ConfigFolder:
    """The configs below a folder; a name is a path without its ending."""

    path: Path

    def loaded(self, name: str) -> RefkitConfig:
        """The config, which all tests of a process share."""
        return load_once(self.path / f"{name}.py")

    def header_of(self, name: str) -> str:
        """Its docstring as one line."""
        return " ".join(docstring_of(self.path / f"{name}.py").split())


@cache
def load_once(path: Path) -> RefkitConfig:
    """A config file, read once."""
    return load_config(path)


def docstring_of(path: Path) -> str:
    """The docstring of a Python file; empty without one."""
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
