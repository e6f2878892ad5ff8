"""Importers: one module per public data set reads what its owners publish and writes records.

`SOURCES` describes them for the command line; `import_source` runs one. A new source is one module with a
``SPEC`` and one entry here.
"""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from refkit.data.records import Record, write_records
from refkit.data.sources import (
    captions,
    coco,
    conversations,
    dynrefer,
    ferret_bench,
    flickr30k,
    jsonl,
    mdetr,
    ovad,
    refer,
    referit,
    refshapes,
    transvg,
    vg,
)
from refkit.data.sources.spec import Option, Part, Skips, SourceError, SourceSpec

__all__ = ["SOURCES", "Option", "SourceError", "SourceSpec", "import_source"]

_EXPRESSIONS = (refer, transvg, referit, flickr30k, mdetr)
_REGIONS = (vg, dynrefer, captions, ovad, conversations, ferret_bench)
_ANY = (coco, jsonl, refshapes)
SOURCES: dict[str, SourceSpec] = {
    module.SPEC.name: module.SPEC for module in (*_EXPRESSIONS, *_REGIONS, *_ANY)
}
_log = logging.getLogger(__name__)


def import_source(
    name: str,
    paths: str | Path | Sequence[str | Path],
    out: str | Path,
    /,
    *,
    skip_invalid: bool = False,
    progress: bool = True,
    **options: Any,
) -> list[Path]:
    """Import files of a public data set into records.

    Args:
        name: a key of `SOURCES`.
        paths: files or folders, see ``SOURCES[name].paths``.
        out: a folder, which receives ``<dataset>.<split_by>.<split>.jsonl`` files; or, where there is just
            one to write, a file ending in ``.jsonl`` or ``.jsonl.gz``.
        skip_invalid: instead of stopping at a bad entry, leave it out, and count such entries by reason in
            the header and the log.
        progress: show a progress bar on a terminal.
        **options: as described in ``SOURCES[name].options``; values may be text.

    Returns:
        The files written. Each appears only once it is complete. A part all of whose entries are invalid is
        not written.

    Raises:
        SourceError: an unknown source or option, or a file, entry or value that cannot be imported; or
            nothing is left to write.
        UnsafePickleError: a pickle holds more than plain data.
    """
    if name not in SOURCES:
        near = difflib.get_close_matches(name, SOURCES, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(SOURCES)}."
        raise SourceError(f"unknown source {name!r}; {hint}")
    given = [paths] if isinstance(paths, str | Path) else paths
    files = [Path(path).expanduser() for path in given]
    for path in files:
        if not path.exists():
            raise SourceError(f"{path} does not exist; {name} wants {SOURCES[name].paths}.")
    parts = SOURCES[name].read(files, Skips(skip_invalid), **SOURCES[name].parse_options(options))
    targets = _targets(parts, Path(out))
    written = [_write(part, target, progress) for part, target in zip(parts, targets, strict=True)]
    if parts and not any(written):
        raise SourceError(_nothing_usable(files, parts))
    for part, target, done in zip(parts, targets, written, strict=True):
        if not done:
            example = part.skips.examples[0]
            _log.warning("%s: not written, nothing of it is usable, for example %s", target, example)
    return [target for target, done in zip(targets, written, strict=True) if done]


def _nothing_usable(files: Sequence[Path], parts: Sequence[Part]) -> str:
    """Why no part is left to write."""
    invalid = sum((part.skips.invalid for part in parts), Counter[str]())
    reasons = ", ".join(f"{count} x {reason}" for reason, count in invalid.items())
    return (
        f"{', '.join(map(str, files))}: nothing is usable, so nothing was written. Left out as invalid: "
        f"{reasons}. For example: {parts[0].skips.examples[0]}."
    )


def _targets(parts: Sequence[Part], out: Path) -> list[Path]:
    """Where each part goes; two parts may not share a file."""
    if out.name.endswith((".jsonl", ".jsonl.gz")):
        if len(parts) > 1:
            held = ", ".join(part.header.name for part in parts)
            raise SourceError(
                f"{out} is one file, but there are {len(parts)} sets to write ({held}); give a folder, or "
                "choose one with --splits or --name."
            )
        return [out]
    targets = [out / f"{part.header.name}.jsonl" for part in parts]
    double = next((target for target in targets if targets.count(target) > 1), None)
    if double is not None:
        raise SourceError(f"two inputs would both be written to {double}; import them one at a time.")
    return targets


class _EmptyError(Exception):
    """Every entry of a part is invalid."""


def _write(part: Part, target: Path, progress: bool) -> bool:
    """Write one part and log what was left out; False where every entry was invalid."""
    skips = part.skips
    try:
        header = write_records(target, part.header, _counted(part, progress))
    except _EmptyError:
        return False
    _log.info("%s: %d records, %d images", target, header.records, header.images)
    for reason, count in skips.left_out.items():
        _log.info("%s: %d left out: %s", target, count, reason)
    for reason, count in skips.invalid.items():
        _log.warning("%s: %d entries left out as invalid: %s", target, count, reason)
    for example in skips.examples:
        _log.warning("  for example %s", example)
    return True


def _counted(part: Part, progress: bool) -> Iterator[Record]:
    """The records, with a bar; once they are through, the header learns what was left out."""
    count = 0
    for record in tqdm(
        part.records, desc=part.header.name, unit=" records", disable=None if progress else True, delay=1
    ):
        count += 1
        yield record
    if not count and part.skips.invalid:
        raise _EmptyError
    part.header.extra.update(part.skips.summary())
