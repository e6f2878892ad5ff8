"""What every importer shares: its description, its options, its parts, and what becomes of bad entries."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refkit.data.records import Header, Record


class SourceError(ValueError):
    """Files of a public data set that cannot be imported as they are; names file, entry and remedy."""


@dataclass(frozen=True)
class Option:
    """One option of an importer, as the command line offers it.

    Attributes:
        name: keyword, with underscores.
        type: ``str``, ``int``, ``float``, ``bool`` or ``Path``.
        default: value when it is not given (a tuple where ``many``).
        help: one sentence.
        choices: the admitted values; empty = any.
        many: may be given several times; the value is a tuple.
        required: has no default.
    """

    name: str
    type: type
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    many: bool = False
    required: bool = False

    def parse(self, value: Any) -> Any:
        """The value in the option's type.

        Raises:
            SourceError: it does not fit.
        """
        if value is None or (self.many and not value):
            return self.default
        if self.many:
            values = [value] if isinstance(value, str | Path | int) else list(value)
            return tuple(self._one(item) for item in values)
        return self._one(value)

    def _one(self, value: Any) -> Any:
        if self.type is bool and isinstance(value, str):
            words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
            if value.lower() not in words:
                raise SourceError(f"option {self.name}: expected true or false, got {value!r}.")
            return words[value.lower()]
        try:
            parsed = self.type(value)
        except (TypeError, ValueError) as error:
            raise SourceError(f"option {self.name}: expected {self.type.__name__}, got {value!r}.") from error
        if self.choices and parsed not in self.choices:
            raise SourceError(f"option {self.name}: {parsed!r} is none of {', '.join(self.choices)}.")
        return parsed


@dataclass
class Skips:
    """Bad entries: an error by default, counted and left out where the user asked for it.

    Attributes:
        allowed: leave bad entries out instead of stopping.
        invalid: number of entries left out, by reason.
        left_out: number of entries that the data set's own rules leave out, by reason.
        examples: the first few bad entries, in words.
    """

    allowed: bool = False
    invalid: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def fork(self) -> Skips:
        """Empty counters under the same rule, for another part."""
        return Skips(self.allowed)

    def reject(self, file: Path | str, entry: str, reason: str, detail: str = "") -> None:
        """Report one bad entry.

        Args:
            file: the file it stands in.
            entry: its name or number inside the file.
            reason: the kind of defect, the same for all entries that share it.
            detail: the offending value.

        Raises:
            SourceError: bad entries are not to be left out.
        """
        message = f"{file}: {entry}: {reason}" + (f" ({detail})" if detail else "")
        if not self.allowed:
            raise SourceError(f"{message}. Repair the entry, or leave such entries out with --skip-invalid.")
        self.invalid[reason] += 1
        if len(self.examples) < 5:
            self.examples.append(message)

    def summary(self) -> dict[str, dict[str, int]]:
        """Both counters as plain dicts, empty ones left out."""
        counters = {"skipped_invalid": dict(self.invalid), "left_out": dict(self.left_out)}
        return {name: counts for name, counts in counters.items() if counts}


@dataclass
class Part:
    """One records file to be written.

    Attributes:
        header: its header; counts and digests are filled when it is written.
        records: its records, consumed once.
        skips: what was left out of this part; complete once the records are consumed.
        total: number of source entries, for the progress bar.
    """

    header: Header
    records: Iterable[Record]
    skips: Skips
    total: int | None = None


Reader = Callable[..., list[Part]]
"""``(paths, skips, **options) -> parts``; ``paths`` are `Path`; every part counts in a fork of ``skips``."""


@dataclass(frozen=True)
class SourceSpec:
    """One importer.

    Attributes:
        name: as on the command line.
        help: what it reads, in a sentence.
        paths: what to give as paths, in a sentence.
        options: its options.
        read: the function that makes the parts.
    """

    name: str
    help: str
    paths: str
    options: tuple[Option, ...]
    read: Reader

    def parse_options(self, given: dict[str, Any]) -> dict[str, Any]:
        """All options with their values.

        Raises:
            SourceError: an unknown option, a value that does not fit, or a missing one.
        """
        known = {option.name: option for option in self.options}
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}."
                raise SourceError(f"source {self.name} has no option {name!r}; {hint}")
        for option in self.options:
            if option.required and given.get(option.name) is None:
                raise SourceError(f"source {self.name} needs the option {option.name}: {option.help}")
        return {name: option.parse(given.get(name)) for name, option in known.items()}


def one_path(paths: Sequence[Path], what: str) -> Path:
    """The only path given.

    Raises:
        SourceError: none or several were given, or it does not exist.
    """
    if len(paths) != 1:
        raise SourceError(f"give exactly one path, {what}; got {len(paths)}.")
    if not paths[0].exists():
        raise SourceError(f"{paths[0]} does not exist; expected {what}.")
    return paths[0]


SPLITS = Option("splits", str, (), "Only these splits (default: all that the files hold).", many=True)
IMAGE_ROOT = Option("image_root", str, None, "Folder of the pictures below the data root, for the header.")
NAME = Option("name", str, None, "Name of the set to write, as in refcoco.unc.val (default: from the files).")
