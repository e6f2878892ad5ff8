"""Tags of a region from its caption: subjects in one set, relations and objects in the other.

DynRefer's data have them from a scene graph (SceneGraphParser on spaCy); `graph_tags` reads such a graph
where an annotation holds one, `phrase_tags` makes do with parts of speech. Only words of a list count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refkit.data.pos_tagging import Tagged


class TagListError(ValueError):
    """A list of tags that cannot be used."""


@dataclass(frozen=True, slots=True)
class RegionTags:
    """Tags of one region, in the spelling and order of the list.

    Attributes:
        subjects: of what the caption is about; DynRefer's ``tag_set1``.
        others: of relations and objects; ``tag_set2``.
    """

    subjects: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Both, each tag once."""
        return tuple(dict.fromkeys((*self.subjects, *self.others)))


class TagList:
    """A list of tags, found again whatever their case.

    Args:
        tags: in order.

    Raises:
        TagListError: the list is empty, or a tag is.
    """

    def __init__(self, tags: Iterable[str]) -> None:
        self.tags = tuple(tag.strip() for tag in tags)
        if not self.tags or not all(self.tags):
            raise TagListError("a list of tags needs at least one tag, and none may be empty")
        self._places: dict[str, int] = {}
        for place, tag in enumerate(self.tags):
            self._places.setdefault(tag.lower(), place)

    @classmethod
    def read(cls, path: str | Path) -> TagList:
        """A list with one tag per line.

        Raises:
            TagListError: the file is missing, no UTF-8 text, or holds an empty line.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise TagListError(f"{path}: not a list of tags, one per line: {error}") from error
        try:
            return cls(lines)
        except TagListError as error:
            raise TagListError(f"{path}: {error}") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the tags joined by line feeds."""
        return hashlib.sha256("\n".join(self.tags).encode()).hexdigest()

    def by_place(self, places: Iterable[int]) -> tuple[str, ...]:
        """The tags with these numbers, in the order of the list.

        Raises:
            TagListError: a number outside the list.
        """
        wanted = sorted(set(places))
        outside = [place for place in wanted if not 0 <= place < len(self.tags)]
        if outside:
            raise TagListError(f"tag number {outside[0]} is outside a list of {len(self.tags)}")
        return tuple(self.tags[place] for place in wanted)

    def among(self, words: Iterable[str]) -> tuple[str, ...]:
        """Those of the words that are tags, whatever their case, in the order of the list."""
        found = {self._places.get(word.lower().strip()) for word in words}
        return self.by_place(place for place in found if place is not None)


def graph_tags(graph: Mapping[str, Any], known: TagList) -> RegionTags:
    """Tags of a scene graph.

    An entity that is no relation's object is a subject. It gives its head, every end of its lemmatised span
    and its modifiers but determiners; a relation gives its words.

    Args:
        graph: ``entities`` and ``relations`` of SceneGraphParser.
        known: the list.

    Raises:
        TagListError: the graph is of another layout.
    """
    try:
        objects = {int(relation["object"]) for relation in graph["relations"]}
        sets: tuple[list[str], list[str]] = [], [str(relation["relation"]) for relation in graph["relations"]]
        for number, entity in enumerate(graph["entities"]):
            sets[number in objects].extend(_entity_words(entity))
    except (KeyError, TypeError, ValueError) as error:
        raise TagListError(f"not a scene graph of SceneGraphParser: {error!r}") from error
    return RegionTags(known.among(sets[0]), known.among(sets[1]))


def _entity_words(entity: Mapping[str, Any]) -> list[str]:
    span = str(entity["lemma_span"]).split(" ")
    modifiers = [str(part["span"]) for part in entity["modifiers"] if part["dep"] != "det"]
    return [str(entity["head"]), *_ends(span), *modifiers]


def _ends(words: Sequence[str]) -> list[str]:
    return [" ".join(words[start:]) for start in range(len(words))]


def phrase_tags(tagged: Tagged, known: TagList) -> RegionTags:
    """Tags from parts of speech: the first noun phrase is the subject, later ones are objects.

    Like `graph_tags`, with adjectives as modifiers and with verbs and prepositions as relations.

    Args:
        tagged: tokens with Penn Treebank tags.
        known: the list.
    """
    sets: tuple[list[str], list[str]] = [], []
    phrase: list[tuple[str, str]] = []
    found = False
    for token, tag in (*tagged, ("", "END")):
        if _continues(tag, phrase):
            phrase.append((token, tag))
            continue
        words = _phrase_words(phrase)
        sets[found].extend(words)
        found = found or bool(words)
        phrase = []
        if tag.startswith(("VB", "IN")):
            sets[1].append(token)
    return RegionTags(known.among(sets[0]), known.among(sets[1]))


def _continues(tag: str, phrase: Sequence[tuple[str, str]]) -> bool:
    """Whether a word belongs to the noun phrase so far; participles do before its noun only."""
    if tag in ("VBN", "VBG"):
        return bool(phrase) and not any(kind.startswith("NN") for _, kind in phrase)
    return tag.startswith(("NN", "JJ", "CD"))


def _phrase_words(phrase: Sequence[tuple[str, str]]) -> list[str]:
    """The head noun, every end of the phrase with a singular head, and its modifiers."""
    nouns = [place for place, (_, tag) in enumerate(phrase) if tag.startswith("NN")]
    if not nouns:
        return []
    head, kind = phrase[nouns[-1]]
    before = [token for token, _ in phrase[: nouns[-1]]]
    spans = [span for noun in _singulars(head, kind) for span in _ends([*before, noun])]
    return [head, *spans, *(token for token, tag in phrase[: nouns[-1]] if not tag.startswith("NN"))]


def _singulars(token: str, tag: str) -> list[str]:
    """What a plural noun may be the plural of; words are looked up in a list, so wrong guesses do no harm."""
    if tag != "NNS":
        return [token]
    endings = (("ies", "y"), ("es", ""), ("s", ""))
    return [token.removesuffix(end) + new for end, new in endings if token.endswith(end)]
