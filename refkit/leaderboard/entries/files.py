"""Entries as YAML files: read with limits, complete or absent on disk."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from refkit.data.files import atomic_write
from refkit.leaderboard.entries.schema import TASKS, Entry

LARGEST_ENTRY = 1 << 20
LONGEST_NAME = 80
DEEPEST = 20
NOTES_FILE = "notes.yaml"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class EntryError(ValueError):
    """An entry, or a folder of entries, that cannot be used: ``file: key: what is wrong``."""


@dataclass(frozen=True, slots=True)
class Located:
    """An entry and where it stands.

    Attributes:
        entry: what the file says.
        path: the file.
        name: its name without ending; unique within the task.
    """

    entry: Entry
    path: Path

    @property
    def name(self) -> str:
        """The file's name without its ending: unique within a task, fit for a path and an address."""
        return self.path.stem


class _StrictLoader(_LOADER):  # type: ignore[misc, valid-type]
    """No key twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        counts = Counter(str(key.value) for key, _ in node.value)
        double, times = next(iter(counts.most_common(1)), ("", 0))
        if times > 1:
            raise yaml.YAMLError(f"the key {double!r} stands twice at line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)


def load_yaml(path: Path, largest: int = LARGEST_ENTRY) -> Any:
    """The content of a small YAML file from anybody.

    Raises:
        EntryError: absent, too large, not UTF-8, not YAML, with aliases, or nested too deeply.
    """
    try:
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except OSError as error:
        raise EntryError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > largest:
        raise EntryError(f"{path}: larger than {largest:,} bytes; no entry needs that")
    try:
        text = data.decode("utf-8")
        _check_events(text)
        return _StrictLoader(text).get_single_data()
    except UnicodeDecodeError as error:
        raise EntryError(f"{path}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise EntryError(f"{path}: not usable as YAML: {' '.join(str(error).split())[:500]}") from None


def _check_events(text: str) -> None:
    """Before anything is built: a few aliases can stand for billions of values, and libyaml builds nested
    values by recursion in C, which ends the process when they are nested deeply."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"more than {DEEPEST} levels of nesting")


def read_entry(path: Path) -> Located:
    """One entry.

    Raises:
        EntryError: the file is no entry, or stands in the folder of another task; names file and key.
    """
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise EntryError(f"{path}: expected an entry of keys and values, format: refkit.entry/1")
    try:
        entry = Entry.model_validate(content)
    except ValidationError as error:
        raise EntryError(f"{path}: {explain(error)}") from None
    if path.parent.name != entry.task:
        raise EntryError(f"{path}: task: {entry.task!r} belongs into a folder of that name")
    return Located(entry, path)


def explain(error: ValidationError) -> str:
    """The first faults of a validation as ``key: reason``."""
    faults = error.errors(include_url=False, include_input=False)
    told = []
    for fault in faults[:3]:
        named = (part for part in fault["loc"] if not str(part).startswith(("function-", "tuple[", "dict[")))
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in named)
        place, reason = "".join(parts).lstrip(".")[:200], fault["msg"].removeprefix("Value error, ")
        reason = "unknown key" if fault["type"] == "extra_forbidden" else reason
        told.append(f"{place}: {reason}" if place else reason)
    more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
    return "; ".join(told) + more


def load_entries(folder: Path) -> list[Located]:
    """All entries of a leaderboard, sorted by task and name.

    Raises:
        EntryError: no such folder, a broken entry, or a task folder that is none.
    """
    if not folder.is_dir():
        raise EntryError(f"{folder}: no such folder of entries; say where yours are with --folder")
    paths = sorted(folder.glob("*/*.yaml"))
    strange = next((path for path in paths if path.parent.name not in TASKS), None)
    if strange is not None:
        raise EntryError(f"{strange}: {strange.parent.name!r} is no task; there are {', '.join(TASKS)}")
    return [read_entry(path) for path in paths]


def write_entry(folder: Path, name: str, entry: Entry) -> Path:
    """Write ``<folder>/<task>/<name>.yaml``; equal entries give equal bytes."""
    fields = {"format": entry.format, **entry.to_yaml_fields()}
    text = yaml.dump(fields, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=110)
    return atomic_write(folder / entry.task / f"{slug(name)}.yaml", text)


def slug(text: str) -> str:
    """Any text as a name for files and addresses: lower-case letters, digits and single hyphens."""
    plain = unicodedata.normalize("NFKD", text.replace("+", "-plus")).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    if words and len(words) <= LONGEST_NAME:
        return words
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{words[: LONGEST_NAME - 9].strip('-')}-{mark}".lstrip("-")


def inside(folder: Path, relative: str) -> Path:
    """A path below a folder, after following links.

    Raises:
        EntryError: it leads out of the folder.
    """
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise EntryError(f"{relative}: leads out of {folder}")
    return path


def read_notes(folder: Path) -> dict[str, Any]:
    """Remarks that belong to no single entry (``notes.yaml``): ``{"notes": [...], "sources": {...}}``."""
    path = folder / NOTES_FILE
    if not path.is_file():
        return {"notes": [], "sources": {}}
    content = load_yaml(path)
    fields = content if isinstance(content, dict) else {}
    notes, sources = fields.get("notes"), fields.get("sources")
    texts = notes if isinstance(notes, list) else [None]
    if not isinstance(sources, dict) or not all(isinstance(note, str) for note in texts):
        raise EntryError(f"{path}: expected 'notes', a list of texts, and 'sources', a mapping")
    return {"notes": notes, "sources": sources}
