"""A web page of the samples that changed sides between two methods."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from refkit.leaderboard.answer_cards import BAR, AnswerCards, PageOptions, write_sections
from refkit.leaderboard.comparison import Changed, Comparison, ComparisonError, Pair
from refkit.leaderboard.comparison_table import about, table_rows, warning_lines


def write_page(
    folder: str | os.PathLike[str],
    pairs: Sequence[Pair],
    comparisons: Sequence[Comparison],
    options: PageOptions,
) -> tuple[Path, int]:
    """Write ``index.html`` with tables and pictures.

    A picture that is not at hand is replaced by an empty one of its size, so that the boxes can still be
    compared.

    Args:
        folder: is made where it does not exist.
        pairs: files that were compared: records and both predictions as paths.
        comparisons: what `compare` says about them, in the same order.
        options: how many pictures, which, and where they are.

    Returns:
        The page, and how many pictures were not at hand.

    Raises:
        ComparisonError: records or predictions are not given as files, or the worst were asked for and the
            protocol knows no IoU per sample.
        ImageError: a picture is broken or not the one described.
    """
    missing, sets = 0, []
    for pair, comparison in zip(pairs, comparisons, strict=True):
        answers = {"A": _path(pair.a), "B": _path(pair.b)}
        cards = AnswerCards(_path(pair.records), answers, options)
        sets.append(_section(cards, comparison, options))
        missing += cards.missing
    a, b = comparisons[0].models
    title, protocol = f"{a} against {b}", comparisons[0].protocol.text
    return write_sections(folder, title, [f"A: {a}", f"B: {b}"], sets, protocol), missing


def _section(cards: AnswerCards, comparison: Comparison, options: PageOptions) -> dict[str, Any]:
    sides = [("Only A is right", comparison.only_a), ("Only B is right", comparison.only_b)]
    chosen = [_choose(changed, options) for _, changed in sides]
    found = cards.find(one.id for part in chosen for one in part)
    how = ", largest difference of IoU first" if options.worst else ", drawn at random"
    return {
        "records": comparison.records,
        "about": about(comparison),
        "warnings": warning_lines(comparison),
        "rows": table_rows(comparison),
        "sides": [
            {
                "title": f"{title}: {len(changed):,}",
                "note": f"{len(part):,} shown" + (how if options.worst or len(part) < len(changed) else ""),
                "cards": [cards.card(found[one.id], _note(one)) for one in tqdm(part, title.lower(), **BAR)],
            }
            for (title, changed), part in zip(sides, chosen, strict=True)
        ],
    }


def _choose(changed: Sequence[Changed], options: PageOptions) -> list[Changed]:
    count = min(options.pictures, len(changed))
    if options.worst:
        return sorted(changed, key=lambda one: (-_gap(one), one.id))[:count]
    picked = np.random.default_rng(options.seed).choice(len(changed), count, replace=False)
    return [changed[place] for place in sorted(picked.tolist())]


def _gap(changed: Changed) -> float:
    if changed.iou is None:
        raise ComparisonError("the worst are told by IoU, and this protocol knows none per sample")
    return abs(changed.iou[0] - changed.iou[1])


def _note(changed: Changed) -> str:
    return f"IoU A {changed.iou[0]:.2f}, B {changed.iou[1]:.2f}" if changed.iou else ""


def _path(source: Any) -> str:
    """A page is made from files; what was compared in memory has none."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    raise ComparisonError("a page of pictures needs records and predictions as files")
