"""Configs: found by path or name, overridden with checked keys, printed fast.

A config is an MMEngine pure-Python file. What this module adds to MMEngine's `Config`: an override such as
``model.hed.dim=3`` is an error that names the nearest key (MMEngine would create the typo as a new key), and
the text of a config is made with `pprint` (the yapf-based text takes up to seconds and is made several times
per run).
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

from mmengine.config import Config

import refkit

_PLACE = ("work_dir", "resume", "launcher", "model_wrapper_cfg", "experiment_name")


class ConfigError(ValueError):
    """A config or an override that cannot be used; the message names file, key and remedy."""


class RefkitConfig(Config):
    """MMEngine's `Config` with a `pretty_text` that costs milliseconds and loads back as a config."""

    @property
    def pretty_text(self) -> str:
        """The config as Python statements, one per top-level key."""
        entries = self.to_dict().items()
        return (
            "\n".join(f"{key} = {pformat(value, width=100, sort_dicts=False)}" for key, value in entries)
            + "\n"
        )

    @property
    def fingerprint(self) -> str:
        """16 hex digits of the SHA-256 over all settings of the experiment."""
        text = json.dumps(self.experiment(), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def experiment(self) -> dict[str, Any]:
        """The settings as plain values, without those that say where and how often it is run."""
        return {key: value for key, value in self.to_dict().items() if key not in _PLACE}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RefkitConfig:
    """Read a config and apply overrides.

    Args:
        path: a file, or a name relative to the ``configs`` folder with or without ``configs/`` before it and
            ``.py`` behind it (``refshapes/hivg_tiny``).
        overrides: ``dotted.key=value`` strings; list elements are addressed by index
            (``param_scheduler.0.end=5``).

    Returns:
        The config, its ``filename`` set.

    Raises:
        ConfigError: the file is missing or broken, or an override names a key that does not exist.
    """
    file = find_config(path)
    config = _read(file)
    apply_overrides(config, overrides)
    return config


def config_folders() -> list[Path]:
    """Where named configs are looked for: the checkout's ``configs``, then the installed copy."""
    package = Path(refkit.__file__).resolve().parent
    return [folder for folder in (package.parent / "configs", package / "configs") if folder.is_dir()]


def find_config(path: str | Path) -> Path:
    """The file that a path or a config name means.

    Raises:
        ConfigError: nothing of that name; the nearest names are offered.
    """
    given = Path(path).expanduser()
    named = given.relative_to("configs") if given.parts[:1] == ("configs",) else given
    for base in (given, *(folder / named for folder in config_folders())):
        for candidate in (base, Path(f"{base}.py")):
            if candidate.is_file():
                return candidate.resolve()
    names = [
        file.relative_to(folder).with_suffix("").as_posix()
        for folder in config_folders()
        for file in sorted(folder.rglob("*.py"))
        if not file.relative_to(folder).parts[0].startswith("_")
    ]
    raise ConfigError(
        f"no config {str(path)!r}: neither a file nor a name in configs/."
        f"{_nearest(named.as_posix().removesuffix('.py'), names)}"
    )


def find_file(path: str | Path) -> Path:
    """A file that a config names: relative to the current folder, else to the folder that holds ``configs``.

    Raises:
        ConfigError: in neither.
    """
    given = Path(path).expanduser()
    bases = [Path(), *(folder.parent for folder in config_folders())]
    for base in bases:
        if (base / given).is_file():
            return base / given
    raise ConfigError(f"{path}: no such file, neither here nor in {' or '.join(map(str, bases[1:]))}")


def _read(file: Path) -> RefkitConfig:
    try:
        loaded = Config.fromfile(file)
    except Exception as error:
        reason = (
            str(error)
            or "a config may hold literals and imported classes only, no calls of library functions"
        )
        raise ConfigError(f"{file}: cannot read this config: {type(error).__name__}: {reason}") from error
    config = RefkitConfig(loaded._cfg_dict, cfg_text=loaded.text, filename=str(file))
    object.__setattr__(config, "_imported_names", getattr(loaded, "_imported_names", set()))
    return config


def apply_overrides(config: RefkitConfig, overrides: Sequence[str]) -> None:
    """Set existing keys of a config from ``dotted.key=value`` strings, in order.

    Values are Python literals (``3``, ``1e-4``, ``[1, 2]``, ``None``, ``"text"``), ``true``/``false``, comma
    lists (``1,2,3``) or plain text. A value must have the kind of what it replaces.

    Raises:
        ConfigError: not ``key=value``, unknown key, index out of range, or a value of another kind.
    """
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"{config.filename}: override {override!r} is not of the form dotted.key=value")
        set_key(config, key.strip(), parse_value(text.strip()))


def parse_value(text: str) -> Any:
    """What the text of an override means: a literal, a comma list, or the text itself."""
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return _parse_list(text)
    return list(value) if isinstance(value, tuple) and not text.startswith("(") else value


def _parse_list(text: str) -> str | list[Any]:
    """``a,b`` and ``[a, b]`` with unquoted words; anything else is one text."""
    bracketed = text.startswith("[") and text.endswith("]")
    if not bracketed and ("," not in text or " " in text):
        return text
    return [parse_value(item.strip()) for item in text.strip("[]").split(",") if item.strip()]


def set_key(config: RefkitConfig, dotted: str, value: Any) -> None:
    """Set one existing key of a config.

    Args:
        config: is changed in place.
        dotted: the path of the key, ``optim_wrapper.optimizer.lr``.
        value: of the kind of the value it replaces; anything in place of None, and None in place of anything.

    Raises:
        ConfigError: unknown key, index out of range, or a value of another kind.
    """
    *parents, last = dotted.split(".")
    node: Any = config._cfg_dict
    for depth, key in enumerate(parents):
        node = node[_existing(config, node, key, parents[:depth])]
    place = _existing(config, node, last, parents)
    expected = _mismatch(node[place], value)
    if expected:
        raise ConfigError(
            f"{config.filename}: {dotted}={value!r}: expected {expected}, as in {node[place]!r}"
        )
    node[place] = value


def _existing(config: RefkitConfig, node: Any, key: str, parents: Sequence[str]) -> Any:
    """The key or index of an existing entry of ``node``."""
    here = ".".join((*parents, key))
    if isinstance(node, (list, tuple)):
        if key.lstrip("-").isdigit() and -len(node) <= int(key) < len(node) and isinstance(node, list):
            return int(key)
        raise ConfigError(
            f"{config.filename}: {here}: {'.'.join(parents)} is a list of {len(node)} entries, "
            f"addressed by an index from 0 to {len(node) - 1}"
        )
    if isinstance(node, dict) and key in node:
        return key
    reason = (
        "is not in the config"
        if isinstance(node, dict)
        else f"cannot be: {'.'.join(parents)} is a single value"
    )
    raise ConfigError(
        f"{config.filename}: {here} {reason}.{_nearest(here, list(dotted_keys(config.to_dict())))}"
    )


def _mismatch(old: Any, new: Any) -> str | None:
    """What kind of value belongs there, or None where the new value fits."""
    kinds: list[tuple[type | tuple[type, ...], str]] = [
        (bool, "true or false"),
        ((int, float), "a number"),
        (dict, "a group of settings: override its keys one by one"),
        ((list, tuple), "a list"),
    ]
    if old is None or new is None:
        return None
    for kind, name in kinds:
        if isinstance(old, kind):
            fits = isinstance(new, kind) and (kind is bool or not isinstance(new, bool))
            return None if fits else name
    return None


def dotted_keys(tree: Any, prefix: str = "") -> Iterator[str]:
    """Every dotted path of a nested config, groups and leaves."""
    items = (
        tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, (list, tuple)) else ()
    )
    for key, value in items:
        yield f"{prefix}{key}"
        yield from dotted_keys(value, f"{prefix}{key}.")


def leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``(dotted path, value)`` of every leaf of a nested config."""
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, (list, tuple))
        else None
    )
    if items is None:
        yield prefix.removesuffix("."), tree
        return
    for key, value in items:
        yield from leaves(value, f"{prefix}{key}.")


def _nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(close)}?" if close else ""
