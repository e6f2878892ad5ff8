"""Texts that stand for attributes and classes when a model compares regions with texts.

DynRefer's wording, whose slot for the noun is empty ("the  is clean"), unlike the paper's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

# Further words for the ages of people; the last two wordings of OVAD's list that names alone do not give.
_MORE_NAMES = {
    "young/baby": ("kid", "kids", "child", "toddler", "boy", "girl"),
    "adult/old/aged": ("teen", "elder"),
}


def attribute_prompts(name: str, kind: Literal["is", "has"]) -> list[str]:
    """Prompts of one attribute; its score is the highest among them.

    Args:
        name: ``type:synonym/synonym/…``, as OVAD writes it.
        kind: ``is`` ("the car is red") or ``has`` ("the man has black hair color"), OVAD's ``is_has_att``.

    Raises:
        ValueError: another kind, or a name without a type.
    """
    family, colon, synonyms = name.partition(":")
    if not colon or not synonyms or kind not in ("is", "has"):
        raise ValueError(
            f"attribute {name!r} of kind {kind!r}: expected <type>:<name>/<name>… and 'is' or 'has'"
        )
    words = (*synonyms.split("/"), *_MORE_NAMES.get(synonyms, ()))
    if kind == "is":
        return [text for word in words for text in (f"the {word}", f"the  is {word}")]
    noun = family.replace(" tone", "")
    return [text for word in words for text in (f"the {word} {noun}", f"the  has {word} {noun}")]


def ovad_prompts(attributes: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Prompts by attribute, in the order of the ids.

    Args:
        attributes: the list of an OVAD file: ``id``, ``name``, ``is_has_att``.

    Raises:
        ValueError: an attribute without these, see `attribute_prompts`.
    """
    ranked = sorted(attributes, key=lambda entry: int(entry["id"]))
    return {entry["name"]: attribute_prompts(entry["name"], entry["is_has_att"]) for entry in ranked}


def category_prompt(name: str) -> str:
    """The prompt of a class, in lower case."""
    return f"the {name.lower()}"
