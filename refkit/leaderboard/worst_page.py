"""A web page of the worst answers of one method, for the human check before a number is believed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from refkit.leaderboard.answer_cards import BAR, AnswerCards, PageOptions, write_sections
from refkit.leaderboard.comparison import ComparisonError
from refkit.leaderboard.result import Result
from refkit.leaderboard.scoring import score


def write_worst_page(
    folder: str | os.PathLike[str], records: Path, predictions: Path, protocol: str, options: PageOptions
) -> tuple[Path, int]:
    """Write ``index.html`` with the answers of lowest IoU; of equal ones, in the order of the records.

    Args:
        folder: is made where it does not exist.
        records: a records file.
        predictions: a prediction file.
        protocol: id of a protocol that knows an IoU per sample.
        options: how many pictures, and where they are.

    Returns:
        The page, and how many pictures were not at hand.

    Raises:
        ComparisonError: a protocol without an IoU per sample.
        ImageError: a picture is broken or not the one described.
    """
    result = score(records, predictions, protocol)
    iou = result.per_sample.values.get("iou")
    if iou is None:
        raise ComparisonError(f"the worst are told by IoU, and {protocol} knows none per sample")
    worst = np.argsort(iou, kind="stable")[: options.pictures].tolist()
    ids = [result.per_sample.ids[row] for row in worst]
    cards = AnswerCards(os.fspath(records), {"A": os.fspath(predictions)}, options)
    found = cards.find(ids)
    notes = [f"IoU {iou[row]:.2f}, {result.per_sample.status[row]}" for row in worst]
    drawn = [
        cards.card(found[one], note)
        for one, note in tqdm(list(zip(ids, notes, strict=True)), "worst answers", **BAR)
    ]
    section = {
        "title": "Worst answers",
        "note": f"{len(drawn):,} of {result.scored:,} shown, lowest IoU first",
    }
    about = {"records": result.records, "about": _about(result), "warnings": result.warnings}
    sets = [about | {"sides": [section | {"cards": drawn}]}]
    title = f"The worst answers of {result.model}"
    return write_sections(folder, title, [f"A: {result.model}"], sets, result.protocol.text), cards.missing


def _about(result: Result) -> str:
    numbers = [
        f"{label} {100 * result[name]:.2f}"
        for name, label in result.protocol.labels.items()
        if name in result.metrics
    ]
    return (
        f"{result.protocol.id} · {result.scored:,} records on {result.images:,} images · {', '.join(numbers)}"
    )
