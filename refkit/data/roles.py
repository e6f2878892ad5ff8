"""Subject and object of a referring expression: which words Mask Referring Modeling hides first.

Expressions are noun phrases more often than sentences ("the man in red next to a horse"), and that is what
the rules here are for: the subject is the last word before the first one that ends the head noun phrase (a
preposition, a relative pronoun, a verb form), the object the last word of the next noun phrase. spaCy, which
the released code uses, is optional. Parsing is done once (`write_roles`) and stored with the records.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from refkit.data.records import iter_records, read_header, write_records
from refkit.data.schema import Record


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"[a-z0-9]+(?:['’-][a-z0-9]+)*|[,.;:!?]")
_DETERMINERS = _words("a an the this that these those his her its their my your our some any")
_ENDS = _words(
    """
    in on at of with near by behind beside besides between under above over below next to from who
    which that is are was were has have and or but not closest nearest farthest furthest inside
    outside against along around across before after beneath underneath without into onto off up down
    through
    """
)
_PLACES = _words("left right top bottom middle center centre front back far first second third last")
_COLOURS = _words(
    """
    black white red blue green yellow orange purple pink brown gray grey silver gold tan
    """
)
_NOUNS_IN_ING = _words(
    """
    awning building ceiling clothing earring frosting icing king painting pudding railing ring serving
    string swing thing topping wedding wing
    """
)
_SUBJECTS = ("subj", "xsubj", "npsubj", "nsubj", "nsubjpass", "csubj", "csubjpass", "agent", "expl")
_OBJECTS = ("dobj", "pobj", "dative", "oprd")


class ParserError(ValueError):
    """A parser that is not known, or not installed."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Words of an expression, lower-cased; None where there is none."""

    subject: str | None = None
    object: str | None = None

    def to_json(self) -> dict[str, str]:
        """As records store them, ``facts["roles"]``; what there is not is left out."""
        named = {"subject": self.subject, "object": self.object}
        return {name: word for name, word in named.items() if word is not None}


Parser = Callable[[str], Roles]


def parser_named(name: str) -> Parser:
    """``rules`` or ``spacy``.

    Raises:
        ParserError: another name, or spaCy or its English model is not installed.
    """
    if name == "rules":
        return roles_by_rules
    if name == "spacy":
        return _spacy_parser()
    raise ParserError(f"parser {name!r}; known are rules and spacy")


@dataclass(slots=True)
class RoleCounts:
    """What parsing found, in numbers of records."""

    records: int = 0
    subjects: int = 0
    objects: int = 0

    def add(self, roles: Roles) -> None:
        """Count one record."""
        self.records += 1
        self.subjects += roles.subject is not None
        self.objects += roles.object is not None


def write_roles(
    source: Path,
    out: Path,
    parser: str = "rules",
    track: Callable[[Iterable[Any], int, str], Iterable[Any]] = lambda items, total, title: items,
) -> RoleCounts:
    """Copy records with ``facts["roles"]`` and ``facts["parser"]``; digests know neither and stay.

    Args:
        source: records file.
        out: records file to write, in one step; not the source.
        parser: see `parser_named`.
        track: ``(items, total, title) -> items``, for a progress bar.

    Raises:
        ParserError: see `parser_named`; or the file would be written over itself.
        RecordError: the source is no valid records file.
    """
    if Path(out).resolve() == Path(source).resolve():
        raise ParserError(f"{out}: records are not written over what they are read from; take another name")
    parse, header, counts = parser_named(parser), read_header(source), RoleCounts()

    def parsed() -> Iterator[Record]:
        for record in track(iter_records(source), header.records or 0, "parsing"):
            roles = parse(record.text)
            counts.add(roles)
            facts = {**(record.facts or {}), "roles": roles.to_json(), "parser": parser}
            yield replace(record, facts=facts)

    write_records(out, header, parsed())
    return counts


@lru_cache(maxsize=65536)
def roles_by_rules(text: str) -> Roles:
    """Head nouns of the first and of the next noun phrase."""
    phrases = _noun_phrases(_WORD.findall(text.lower()))
    heads = [_head(phrase) for phrase in phrases]
    found = [head for head in heads if head is not None]
    return Roles(*found[:2]) if found else Roles()


def _noun_phrases(words: list[str]) -> list[list[str]]:
    """Runs of words that no preposition, verb, pronoun or comma interrupts."""
    phrases: list[list[str]] = [[]]
    for before, word in zip(["", *words], words, strict=False):
        if word == "and" and before in _COLOURS:
            continue
        if _interrupts(word, bool(phrases[-1])):
            phrases.append([])
        elif word not in _DETERMINERS:
            phrases[-1].append(word)
    return [phrase for phrase in phrases if phrase]


def _interrupts(word: str, inside: bool) -> bool:
    """Whether a noun phrase ends before ``word``; ``inside``: one has begun."""
    if word in _DETERMINERS:
        return inside and word in _ENDS
    verb = word.endswith("ing") and word not in _NOUNS_IN_ING
    return verb or word in _ENDS or not word[0].isalnum()


def _head(phrase: list[str]) -> str | None:
    """The last word that is not a place ("man left" means the man)."""
    nouns = [word for word in phrase if word not in _PLACES]
    return nouns[-1] if nouns else None


def _spacy_parser() -> Parser:
    try:
        import spacy

        pipeline: Any = spacy.load("en_core_web_md")
    except (ImportError, OSError) as error:
        raise ParserError(
            "the parser spacy needs the package and its model: pip install spacy, then python -m spacy "
            f"download en_core_web_md ({error})"
        ) from error

    def parse(text: str) -> Roles:
        tokens = list(pipeline(text.lower()))
        subject = next((token for token in tokens if token.dep_ in _SUBJECTS), None)
        subject = subject or next((token for token in tokens if token.dep_ == "ROOT"), None)
        target = next((token for token in tokens if token.dep_ in _OBJECTS), None)
        return Roles(*(None if token is None else token.text for token in (subject, target)))

    return parse
