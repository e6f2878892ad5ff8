"""Regions with captions on their way into records: one record per region, or one per picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refkit.data.control_words import parse_words
from refkit.data.pos_tagging import Tagger, tagger_named
from refkit.data.records import ImageRef, Record, Target
from refkit.data.region_tags import TagList, TagListError, phrase_tags
from refkit.data.sources.spec import Option, SourceError

CAPTION_TASKS = ("caption", "densecap")
TASK = Option(
    "task",
    str,
    "caption",
    "One record per region (caption: to train on, and to score region captions), or one per picture "
    "(densecap: to score dense captions).",
    CAPTION_TASKS,
)
TAGGER = Option(
    "tagger",
    str,
    "none",
    "Store the words and tags of captions, which training wants: by NLTK, by rules, or auto for the first "
    "of them that is there.",
    ("none", "auto", "nltk", "rules"),
)
TAG_LIST = Option("tag_list", Path, None, "List of tags, one per line; without it no tags are stored.")


@dataclass(frozen=True, slots=True)
class Region:
    """One annotated region.

    Attributes:
        number: its number in the source.
        image: the picture.
        target: box and what else is known.
        caption: its text, empty where the source has an empty one.
        tags: its tags where the source states them, else None.
    """

    number: int | str
    image: ImageRef
    target: Target
    caption: str
    tags: Sequence[str] | None = None


class CaptionFacts:
    """Words and tags of captions, made once and stored with the records.

    Args:
        tagger: one of the choices of `TAGGER`.
        tag_list: file with tags, or None.

    Raises:
        SourceError: the list cannot be read.
        TaggerError: the tagger is not installed.
    """

    def __init__(self, tagger: str = "none", tag_list: Path | None = None) -> None:
        self._name = ""
        self._tag: Tagger | None = None
        if tagger != "none":
            self._name, self._tag = tagger_named(tagger)
        try:
            self.known = None if tag_list is None else TagList.read(tag_list)
        except TagListError as error:
            raise SourceError(str(error)) from error

    @property
    def summary(self) -> dict[str, str]:
        """What a header says about how they were made."""
        made = {"tagger": self._name, "tag_list": f"sha256:{self.known.digest}" if self.known else ""}
        return {name: value for name, value in made.items() if value}

    def of(self, captions: Sequence[str], tags: Sequence[str] | None = None) -> dict[str, Any]:
        """``phrases``, a list per caption, ``tags`` of all of them, and the ``tagger``; empty without one.

        Args:
            captions: of one region.
            tags: those the source states, which then count alone.

        Raises:
            SourceError: tags are wanted, but there are neither stated ones nor a tagger to make them.
        """
        facts: dict[str, Any] = {}
        if self._tag is not None:
            tagged = [self._tag(caption) for caption in captions]
            facts = {"phrases": [parse_words(words) for words in tagged], "tagger": self._name}
            if tags is None and self.known is not None:
                found = [tag for words in tagged for tag in phrase_tags(words, self.known).all]
                tags = self.known.among(found)
        elif tags is None and self.known is not None:
            raise SourceError(
                "a list of tags is given, but the captions have none of their own; add --tagger auto to "
                "make them from the words"
            )
        return facts if tags is None else {**facts, "tags": list(tags)}


def caption_records(
    regions: Iterable[Region], prefix: str, task: str, facts: CaptionFacts
) -> Iterator[Record]:
    """Records of regions.

    Args:
        regions: in any order.
        prefix: of the ids, ``<dataset>.<split_by>``.
        task: one of `CAPTION_TASKS`.
        facts: makes words and tags; for records of regions only.
    """
    if task == "densecap":
        yield from _by_picture(regions, prefix)
        return
    for region in regions:
        name = f"{prefix}.{region.number}"
        yield Record(
            id=name,
            image=region.image,
            targets=[region.target],
            object=name,
            references=[region.caption],
            facts=facts.of([region.caption], region.tags) or None,
        )


def _by_picture(regions: Iterable[Region], prefix: str) -> Iterator[Record]:
    pictures: dict[str, list[Region]] = {}
    for region in regions:
        pictures.setdefault(region.image.file, []).append(region)
    for file, members in pictures.items():
        image = members[0].image
        yield Record(
            id=f"{prefix}.image.{file if image.id is None else image.id}",
            image=image,
            targets=[region.target for region in members],
            references=[region.caption for region in members],
        )
