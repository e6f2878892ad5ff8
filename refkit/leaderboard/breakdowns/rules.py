"""The word lists and cuts that breakdowns follow: one versioned file inside the package."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

RULES_FILE = "rules.json"


@dataclass(frozen=True, slots=True)
class Rules:
    """The content of ``rules.json``.

    Attributes:
        version: carried into every result; a changed rule has a new one.
        sha256: of the file, so that a change without a new version shows.
        words: class of expressions → words and phrases, any of which puts an expression into the class.
        people: categories that are people.
        cuts: bins by breakdown, as numbers.
    """

    version: str
    sha256: str
    words: Mapping[str, Sequence[str]]
    people: frozenset[str]
    cuts: Mapping[str, Mapping[str, Any]]

    def to_json(self) -> dict[str, str]:
        """What a result says about the rules it followed."""
        return {"version": self.version, "sha256": self.sha256}


@lru_cache(maxsize=1)
def load_rules() -> Rules:
    """The rules of this version of refkit."""
    data = files(__package__).joinpath(RULES_FILE).read_bytes()
    fields = json.loads(data)
    return Rules(
        version=fields["version"],
        sha256=hashlib.sha256(data).hexdigest(),
        words={name: tuple(one["entries"]) for name, one in fields["words"].items()},
        people=frozenset(fields["people"]["entries"]),
        cuts=fields["cuts"],
    )
