"""`refkit data show`: records drawn on their pictures, as a contact sheet or a self-contained web page."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from refkit import rle
from refkit.data import draw
from refkit.data.files import atomic_open, atomic_write
from refkit.data.images import find_image, load_image
from refkit.data.record_file import RecordFile
from refkit.data.schema import Record

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; background: #fafaf8; color: #1e1e1e; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax({{ width }}px, 1fr)); gap: 1rem; }
figure { margin: 0; } img { width: 100%; } small { color: #555; overflow-wrap: anywhere; }
</style></head><body>
<h1>{{ title }}</h1>
<p>{{ cards | length }} of {{ total }} records</p>
<main>
{% for card in cards %}
<figure><img alt="{{ card.text }}" src="data:image/jpeg;base64,{{ card.picture }}">
<figcaption>{{ card.text }}<br><small>{{ card.note }}</small></figcaption></figure>
{% endfor %}
</main></body></html>
"""


class ShowError(ValueError):
    """Nothing can be drawn as asked: no such record, or an unknown kind of output."""


@dataclass(frozen=True, slots=True)
class Card:
    """One record on its picture.

    Attributes:
        image: RGB at the original size.
        text: the expression or the captions.
        note: id, categories.
    """

    image: Image.Image
    text: str
    note: str


def choose(records: RecordFile, count: int, seed: int = 0, ids: Sequence[str] = ()) -> list[Record]:
    """The records to show: those named, else ``count`` drawn at random, in the order of the file.

    Raises:
        ShowError: an id is not in the file.
    """
    if not ids:
        picked = np.random.default_rng(seed).choice(len(records), min(count, len(records)), replace=False)
        return [records[int(position)] for position in sorted(picked)]
    found = {record.id: record for record in records if record.id in set(ids)}
    missing = [identity for identity in ids if identity not in found]
    if missing:
        raise ShowError(f"{records.path} has no record {', '.join(missing)}")
    return [found[identity] for identity in ids]


def card(record: Record, image_root: Path) -> Card:
    """Draw a record's masks, boxes and categories on its picture.

    Raises:
        ImageError: the picture is absent or not the one described.
    """
    size = (record.image.width, record.image.height)
    image = Image.fromarray(load_image(find_image(image_root, record.image.file, record.id), record.id, size))
    for index, target in enumerate(record.targets):
        if target.mask is not None:
            draw.draw_mask(image, rle.decode(target.mask), draw.colour(index))
    for index, target in enumerate(record.targets):
        if target.box is not None:
            draw.draw_box(image, target.box, draw.colour(index))
            draw.draw_label(image, target.category or "", target.box[:2], draw.colour(index))
    text = record.text if record.text is not None else " / ".join(record.references or [])
    what = f"{len(record.targets)} targets" if len(record.targets) != 1 else record.targets[0].category
    return Card(image, text, " · ".join(filter(None, (record.id, what or ""))))


def show(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    image_root: Path,
    count: int = 12,
    seed: int = 0,
    ids: Sequence[str] = (),
    width: int = 320,
    columns: int = 4,
    track: Callable[[Iterable[Any], int, str], Iterable[Any]] = lambda items, total, title: items,
) -> Path:
    """Draw records of a file into ``out``.

    Args:
        path: records file.
        out: ``.png``, ``.jpg`` (contact sheet) or ``.html`` (pictures inside, every text escaped).
        image_root: folder of the pictures.
        count: number of records, drawn at random.
        seed: of that draw.
        ids: show these records instead.
        width: of a tile in pixels.
        columns: tiles per row of a contact sheet.
        track: ``(items, total, title) -> items``, for a progress bar.

    Returns:
        The path written.

    Raises:
        ShowError: another ending of ``out``, an unknown id, or no records.
        ImageError: a picture is absent or not the one described.
    """
    ending = Path(out).suffix.lower()
    if ending not in (".png", ".jpg", ".jpeg", ".html"):
        raise ShowError(f"{out}: expected a name that ends in .png, .jpg or .html")
    records = RecordFile(path)
    chosen = choose(records, count, seed, ids)
    if not chosen:
        raise ShowError(f"{path} holds no records to show")
    cards = [card(record, image_root) for record in track(chosen, len(chosen), "drawing")]
    if ending == ".html":
        return atomic_write(out, page(cards, records.header.name, len(records), width))
    tiles = [draw.captioned(item.image, f"{item.text}  [{item.note}]", width) for item in cards]
    sheet = draw.contact_sheet(tiles, columns)
    with atomic_open(out) as file:
        sheet.save(file, format="PNG" if ending == ".png" else "JPEG", quality=90)
    return Path(out)


def page(cards: Sequence[Card], title: str, total: int, width: int = 320) -> str:
    """A web page without references to other files."""
    from jinja2 import Environment

    items = [
        {"text": item.text, "note": item.note, "picture": _jpeg(item.image, 2 * width)} for item in cards
    ]
    template = Environment(autoescape=True).from_string(_PAGE)
    return template.render(title=title, total=total, width=width, cards=items)


def _jpeg(image: Image.Image, largest: int) -> str:
    """Base64 of a JPEG no wider than ``largest`` pixels."""
    copy = image.copy()
    copy.thumbnail((largest, largest * 2))
    buffer = io.BytesIO()
    copy.save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
