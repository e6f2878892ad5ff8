"""Open JSON and JSON Lines of a source, with messages that name the place."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refkit.data.files import is_gzip
from refkit.data.sources.spec import SourceError


def read_text(path: Path) -> str:
    """The UTF-8 text of a file, unpacked if it is gzip.

    Raises:
        SourceError: it is missing, cannot be unpacked, or is not UTF-8.
    """
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if is_gzip(path) else data).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise SourceError(f"{path} does not exist.") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read as UTF-8 text: {error}") from error


def read_json(path: Path, kind: type) -> Any:
    """A JSON file whose top level is a dict or a list.

    Raises:
        SourceError: it is missing, no JSON, or of another kind.
    """
    try:
        value = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise SourceError(f"{path}:{error.lineno}: this is not JSON: {error.msg}.") from error
    if not isinstance(value, kind):
        raise SourceError(f"{path}: expected a JSON {kind.__name__}, found {type(value).__name__}.")
    return value


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of every non-empty line.

    Raises:
        SourceError: a line is no JSON object.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise SourceError(f"{path}:{number}: this is not JSON: {error.msg}.") from error
        if not isinstance(value, dict):
            raise SourceError(f"{path}:{number}: expected an object per line, found {type(value).__name__}.")
        yield number, value
