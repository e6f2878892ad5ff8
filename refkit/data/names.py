"""One name per data set and split, ``refcoco.unc.val``, and the counts their authors published.

Other spellings (``unc+_testA``, ``gref_umd_val``, ``RefCOCOg umd test``) are read through one alias table. A
name that leaves the division open is refused: "RefCOCO val" means three different sets in tools that people
use.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import lru_cache

_DIVISIONS: dict[str, tuple[str, ...]] = {
    "refcoco.unc": ("train", "val", "testA", "testB"),
    "refcoco.google": ("train", "val", "test"),
    "refcocoplus.unc": ("train", "val", "testA", "testB"),
    "refcocog.umd": ("train", "val", "test"),
    "refcocog.google": ("train", "val", "test"),
    "grefcoco.unc": ("train", "val", "testA", "testB"),
    "referit.berkeley": ("train", "val", "test"),
    "referit.unc": ("train", "val", "testA", "testB", "testC"),
    "flickr30k.entities": ("train", "val", "test"),
    "vg.1_0": ("train", "val", "test"),
    "vg.1_2": ("train", "val", "test"),
    "ovad.box": ("test",),
}

# Keys are what `_squeeze` leaves of a spelling: lower case, "+" as "plus", letters and digits only.
_ALIASES: dict[str, str] = {
    "unc": "refcoco.unc",
    "uncplus": "refcocoplus.unc",
    "refcocoplus": "refcocoplus.unc",
    "refcocop": "refcocoplus.unc",
    "refcocopunc": "refcocoplus.unc",
    "gref": "refcocog.google",
    "grefgoogle": "refcocog.google",
    "grefumd": "refcocog.umd",
    "googlerefexp": "refcocog.google",
    "grefcoco": "grefcoco.unc",
    "gres": "grefcoco.unc",
    "grec": "grefcoco.unc",
    "referit": "referit.berkeley",
    "referitgame": "referit.berkeley",
    "refclefberkeley": "referit.berkeley",
    "refclefunc": "referit.unc",
    "flickr": "flickr30k.entities",
    "flickr30k": "flickr30k.entities",
    "flickrentities": "flickr30k.entities",
    "visualgenome10": "vg.1_0",
    "visualgenome12": "vg.1_2",
    "ovad": "ovad.box",
}

# Names under which several divisions are in use: the reader has to say which.
_OPEN: dict[str, tuple[str, ...]] = {
    "refcoco": ("refcoco.unc", "refcoco.google"),
    "refcocog": ("refcocog.umd", "refcocog.google"),
    "refclef": ("referit.berkeley", "referit.unc"),
    "vg": ("vg.1_2", "vg.1_0"),
    "visualgenome": ("vg.1_2", "vg.1_0"),
}

_SPLIT_ALIASES = {"validation": "val", "dev": "val", "training": "train", "testing": "test"}

# Whose numbering an image number belongs to: equal numbers mean equal pictures only within one numbering.
_IMAGE_OWNERS: dict[str, str] = {
    "refcoco": "coco",
    "refcocoplus": "coco",
    "refcocog": "coco",
    "grefcoco": "coco",
    "refcocos": "coco",
    "refcoco-family": "coco",
    "ovad": "coco",
    "referit": "saiapr",
    "flickr30k": "flickr30k",
    "vg": "vg",
}


@dataclass(frozen=True, slots=True)
class Counts:
    """Published sizes of a split; None where nobody states one.

    Attributes:
        expressions: sentences, phrases.
        objects: referred objects ("refs").
        images: pictures.
    """

    expressions: int | None = None
    objects: int | None = None
    images: int | None = None


# Evaluation spec 1.1 (RefCOCO family), 1.4 (ReferItGame), 1.5 (Flickr30k Entities, phrases that have a box).
KNOWN_COUNTS: dict[str, Counts] = {
    "refcoco.unc.train": Counts(120_624, 42_404, 16_994),
    "refcoco.unc.val": Counts(10_834, 3_811, 1_500),
    "refcoco.unc.testA": Counts(5_657, 1_975, 750),
    "refcoco.unc.testB": Counts(5_095, 1_810, 750),
    "refcoco.google.train": Counts(None, 40_000, 19_213),
    "refcoco.google.val": Counts(None, 5_000, 4_559),
    "refcoco.google.test": Counts(None, 5_000, 4_527),
    "refcocoplus.unc.train": Counts(120_191, 42_278, 16_992),
    "refcocoplus.unc.val": Counts(10_758, 3_805, 1_500),
    "refcocoplus.unc.testA": Counts(5_726, 1_975, 750),
    "refcocoplus.unc.testB": Counts(4_889, 1_798, 750),
    "refcocog.umd.train": Counts(80_512, 42_226, 21_899),
    "refcocog.umd.val": Counts(4_896, 2_573, 1_300),
    "refcocog.umd.test": Counts(9_602, 5_023, 2_600),
    "refcocog.google.train": Counts(85_474, 44_822, 24_698),
    "refcocog.google.val": Counts(9_536, 5_000, 4_650),
    "referit.berkeley.train": Counts(54_134, None, 8_995),
    "referit.berkeley.val": Counts(5_842, None, 1_000),
    "referit.berkeley.test": Counts(60_105, None, 9_994),
    "flickr30k.entities.train": Counts(427_193, None, 29_783),
    "flickr30k.entities.val": Counts(14_433, None, 1_000),
    "flickr30k.entities.test": Counts(14_481, None, 1_000),
}


def known_names() -> tuple[str, ...]:
    """All canonical names, ``<dataset>.<split_by>.<split>``."""
    return tuple(f"{division}.{split}" for division, splits in _DIVISIONS.items() for split in splits)


def canonical(name: str) -> str:
    """The one name of a set and split.

    Args:
        name: any usual spelling.

    Returns:
        ``<dataset>.<split_by>.<split>``, such as ``refcocoplus.unc.testA``.

    Raises:
        ValueError: nothing known is meant, or several; the message offers the nearest names.
    """
    division, split, choices = _read(name)
    if division and split:
        return f"{division}.{split}"
    if choices:
        raise ValueError(f"{name!r} leaves open which division is meant; write {' or '.join(choices)}")
    if division:
        raise ValueError(f"{name!r}: {division} has no such split; it has {', '.join(_DIVISIONS[division])}")
    offered = suggest(name)
    hint = f"; did you mean {' or '.join(offered)}?" if offered else f"; known are {', '.join(known_names())}"
    raise ValueError(f"unknown set {name!r}{hint}")


def recognise(name: str) -> str | None:
    """The canonical name when exactly one known set is meant, None for a set of the user's own."""
    division, split, _ = _read(name)
    return f"{division}.{split}" if division and split else None


def suggest(name: str, count: int = 2) -> list[str]:
    """The canonical names nearest to a misspelt one, best first."""
    by_spelling = {_squeeze(known): known for known in known_names()}
    found = difflib.get_close_matches(_squeeze(name), by_spelling, n=count, cutoff=0.6)
    return [by_spelling[spelling] for spelling in found]


def image_owner(dataset: str) -> str:
    """Whose numbering the image numbers of a data set belong to (``coco``, ``saiapr``, …)."""
    return _IMAGE_OWNERS.get(dataset, dataset)


def _squeeze(name: str) -> str:
    """Lower case, letters and digits only; the plus sign of RefCOCO+ counts as a word."""
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("+", "plus"))


def _spellings() -> dict[str, tuple[str, ...]]:
    """Every spelling of a division → the divisions it may mean."""
    own = {_squeeze(division): (division,) for division in _DIVISIONS}
    return own | {alias: (division,) for alias, division in _ALIASES.items()} | _OPEN


@lru_cache(maxsize=1024)
def _read(name: str) -> tuple[str | None, str | None, tuple[str, ...]]:
    """``(division, split, open choices)``; the longest spelling of a division that fits decides."""
    squeezed = _squeeze(name)
    spellings = _spellings()
    unknown_split = None
    for spelling in sorted(spellings, key=len, reverse=True):
        if not squeezed.startswith(spelling):
            continue
        rest = squeezed[len(spelling) :]
        divisions = spellings[spelling]
        matches = [(division, split) for division in divisions if (split := _split(division, rest))]
        if len(matches) == 1:
            return (*matches[0], ())
        if matches:
            return None, None, tuple(f"{division}.{split}" for division, split in matches)
        unknown_split = unknown_split or (divisions[0] if len(divisions) == 1 else None)
    return unknown_split, None, ()


def _split(division: str, rest: str) -> str | None:
    wanted = _SPLIT_ALIASES.get(rest, rest)
    return next((split for split in _DIVISIONS[division] if split.lower() == wanted), None)
