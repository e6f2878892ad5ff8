"""How much of an evaluation set a method has trained on, counted from image numbers (evaluation spec 1.2)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from refkit.data.audit import audit
from refkit.data.image_sets import images_of_records
from refkit.data.record_scan import RecordScan
from refkit.leaderboard.entries.files import EntryError
from refkit.leaderboard.entries.schema import Overlap, TrainingSet
from refkit.leaderboard.entries.sources import RecordShelf


def training_set(text: str) -> TrainingSet:
    """What ``--trained-on`` names: a records file, a name, or ``name@sha256:…``.

    Raises:
        EntryError: neither.
        RecordError: a file that is no records file.
    """
    if Path(text).is_file():
        header = RecordScan(text).header
        return TrainingSet(records=header.name, digest=header.digest or None)
    if text.endswith((".jsonl", ".gz")):
        raise EntryError(f"{text}: no such records file; give a file, a name, or name@sha256:…")
    name, _, digest = text.partition("@")
    try:
        return TrainingSet(records=name, digest=digest or None)
    except ValueError:
        raise EntryError(f"{text}: expected a records file, a name, or name@sha256:<64 digits>") from None


def find_overlap(
    evaluation: str | os.PathLike[str],
    training: Sequence[TrainingSet],
    shelf: RecordShelf,
    declared: int | None = None,
) -> Overlap:
    """The overlap of training and evaluation.

    Args:
        evaluation: the records that were answered.
        training: everything the method was trained on.
        shelf: where training records are looked for by their digests.
        declared: number of shared images as the authors say, used where records are missing.

    Returns:
        ``computed`` where every training set is at hand, else ``declared`` or ``unknown``.
    """
    files = [shelf.file(item.digest) for item in training]
    at_hand = [path for path in files if path is not None]
    if not files or len(at_hand) < len(files):
        return Overlap() if declared is None else Overlap(how="declared", images=declared)
    side = images_of_records(evaluation)
    found = audit([images_of_records(path) for path in at_hand], [side]).evaluation[side.name]
    expressions = found.expressions_on_training_images or 0
    return Overlap(
        how="computed",
        images=found.images_in_training,
        expressions=expressions,
        share=expressions / found.expressions if found.expressions else None,
    )
