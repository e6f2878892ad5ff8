"""Writes annotations in the exact layout of the REFER distribution, pickled as Python 2 did."""

from __future__ import annotations

import io
import json
import pickle
import re
import struct
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any


class Python2Pickler(pickle._Pickler):
    """Writes text as Python 2 wrote its byte strings (opcodes S, U, T), not as unicode."""

    def save_byte_string(self, text: str) -> None:
        data = text.encode("latin1")
        if self.proto == 0:
            self.write(b"S" + repr(data)[1:].encode("ascii") + b"\n")
        elif len(data) < 256:
            self.write(b"U" + bytes([len(data)]) + data)
        else:
            self.write(b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(text)

    dispatch = dict(pickle._Pickler.dispatch) | {str: save_byte_string}


def python2_dumps(value: Any, protocol: int) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol).dump(value)
    return file.getvalue()


def clean(text: str) -> str:
    """``sent`` of a raw expression: lower case, no punctuation."""
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split()) or text.lower()


class ReferWriter:
    """Collects objects of one set and writes ``refs(<split by>).p`` and ``instances.json``.

    Missing numbers are assigned, above all that are given.
    """

    def __init__(self) -> None:
        self.refs: list[dict[str, Any]] = []
        self.images: dict[int, dict[str, Any]] = {}
        self.annotations: dict[int, dict[str, Any]] = {}
        self.categories: dict[str, int] = {}
        self._fresh = count(10_000_000)

    def add(self, entry: dict[str, Any]) -> dict[str, Any]:
        """One line of the plain records format; returns the reference written for it."""
        number = entry["image_id"]
        file = Path(entry["image"]).name
        self.images[number] = {
            "id": number,
            "file_name": file,
            "height": entry["height"],
            "width": entry["width"],
        }
        category = self.categories.setdefault(entry.get("category") or "thing", len(self.categories) + 1)
        ann_id = self._number(entry.get("ann_id"))
        self.annotations[ann_id] = {
            "id": ann_id,
            "image_id": number,
            "category_id": category,
            "bbox": entry["bbox"],
            "segmentation": entry.get("segmentation") or [],
            "iscrowd": 0,
        }
        sent_ids = entry.get("sent_ids") or [next(self._fresh) for _ in entry["expressions"]]
        ref = {
            "ref_id": self._number(entry.get("ref_id")),
            "ann_id": ann_id,
            "category_id": category,
            "image_id": number,
            "split": entry["split"],
            "file_name": entry.get("ref_file_name") or f"{Path(file).stem}_{ann_id}{Path(file).suffix}",
            "sent_ids": sent_ids,
            "sentences": [
                {"raw": text, "sent": clean(text), "sent_id": sent_id, "tokens": clean(text).split()}
                for text, sent_id in zip(entry["expressions"], sent_ids, strict=True)
            ],
        }
        self.refs.append(ref)
        return ref

    def _number(self, given: int | None) -> int:
        return next(self._fresh) if given is None else given

    def write(self, folder: Path, split_by: str, protocol: int = 2, python2: bool = True) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        dumps = python2_dumps if python2 else pickle.dumps
        (folder / f"refs({split_by}).p").write_bytes(dumps(self.refs, protocol))
        categories = [{"id": number, "name": name} for name, number in self.categories.items()]
        instances = {
            "images": list(self.images.values()),
            "annotations": list(self.annotations.values()),
            "categories": categories,
        }
        (folder / "instances.json").write_text(json.dumps(instances))
        return folder


def write_refer(folder: Path, entries: Iterable[dict[str, Any]], split_by: str, **how: Any) -> ReferWriter:
    writer = ReferWriter()
    for entry in entries:
        writer.add(entry)
    writer.write(folder, split_by, **how)
    return writer
