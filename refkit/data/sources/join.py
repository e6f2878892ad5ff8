"""Which expression of one import is which of another: REFER files carry ids, ``.pth`` lists do not."""

from __future__ import annotations

import json
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from refkit.data.files import atomic_write
from refkit.data.records import Record, iter_records, read_header
from refkit.data.sources.geometry import Box
from refkit.data.sources.identity import enclosing


@dataclass
class JoinTable:
    """Pairs of ids that mean the same expression, and the ids without a partner.

    Attributes:
        pairs: ``(left id, right id)`` in the order of the left file.
        left_only: ids of the left file without partner.
        right_only: ids of the right file without partner.
    """

    pairs: list[tuple[str, str]] = field(default_factory=list)
    left_only: list[str] = field(default_factory=list)
    right_only: list[str] = field(default_factory=list)


def _key(record: Record) -> tuple[str, str]:
    """Image and text; case and spaces differ between distributions of one split."""
    picture = Path(record.image.file).name if record.image.id is None else str(record.image.id)
    words = unicodedata.normalize("NFC", record.text or "").casefold().split()
    return picture, " ".join(words)


def _box(record: Record) -> Box | None:
    boxes = [target.box for target in record.targets if target.box is not None]
    return enclosing(boxes) if boxes else None


def _distance(first: Box | None, second: Box | None) -> float:
    if first is None or second is None:
        return 0.0 if first is second else float("inf")
    return max(abs(one - other) for one, other in zip(first, second, strict=True))


def join_records(left: Path, right: Path, tolerance: float = 1.0) -> JoinTable:
    """Join two records files of one split by image, box and text.

    Repeated texts of one object share their box, so any pairing of them is right; the file order decides.

    Args:
        left: records with the ids to be kept, as from the source ``refer``.
        right: records of the same split from elsewhere, as from the source ``transvg``.
        tolerance: largest difference of a corner, in pixels (some lists round, or count inclusively).

    Raises:
        RecordError: a file is not valid.
    """
    waiting: dict[tuple[str, str], list[tuple[str, Box | None]]] = defaultdict(list)
    order: dict[str, None] = {}
    for record in iter_records(right):
        waiting[_key(record)].append((record.id, _box(record)))
        order[record.id] = None
    table = JoinTable()
    for record in iter_records(left):
        candidates = waiting[_key(record)]
        box = _box(record)
        best = min(
            range(len(candidates)), key=lambda place: _distance(box, candidates[place][1]), default=None
        )
        if best is None or _distance(box, candidates[best][1]) > tolerance:
            table.left_only.append(record.id)
            continue
        partner = candidates.pop(best)[0]
        del order[partner]
        table.pairs.append((record.id, partner))
    table.right_only = list(order)
    return table


def write_join_table(path: Path, left: Path, right: Path, table: JoinTable) -> Path:
    """Write a join table as JSON Lines: a header with both digests, then one ``{"left", "right"}`` per pair.

    An expression without partner has null on the other side.
    """
    heads = {side: read_header(file) for side, file in (("left", left), ("right", right))}
    lines: list[dict[str, object]] = [
        {
            "format": "refkit.join/1",
            **{side: {"records": head.name, "digest": head.digest} for side, head in heads.items()},
            "pairs": len(table.pairs),
        }
    ]
    lines += [{"left": one, "right": other} for one, other in table.pairs]
    lines += [{"left": one, "right": None} for one in table.left_only]
    lines += [{"left": None, "right": other} for other in table.right_only]
    return atomic_write(path, "".join(json.dumps(line) + "\n" for line in lines))
