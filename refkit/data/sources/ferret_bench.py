"""Ferret-Bench: questions about a region of a COCO picture, to be judged by another model.

``question.jsonl`` holds ``{question_id, image, category, text}``, the region as four fractions of the picture
within the text; ``answer.jsonl`` beside it the answers of GPT-4 that the judge compares with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from refkit.data.records import Header, ImageRef, Record, Target
from refkit.data.sources.geometry import Box, GeometryError, check_box
from refkit.data.sources.identity import LICENCES, file_digest, image_number
from refkit.data.sources.readfile import read_json_lines
from refkit.data.sources.sizes import ImageSizes
from refkit.data.sources.spec import IMAGE_ROOT, Option, Part, Skips, SourceError, SourceSpec, one_path

_FRACTION = r"\s*([01](?:\.\d+)?)\s*"
_BOX = re.compile(rf"\[{_FRACTION},{_FRACTION},{_FRACTION},{_FRACTION}\]")
_ANSWERS = "answer.jsonl"


def _regions(text: str, width: int, height: int) -> list[Box]:
    """Boxes within a text, in pixels.

    Raises:
        GeometryError: there is none, or one has no area.
    """
    boxes = []
    for found in _BOX.findall(text):
        left, top, right, bottom = (float(part) for part in found)
        box = (left * width, top * height, right * width, bottom * height)
        check_box(box, width, height)
        boxes.append(box)
    if not boxes:
        raise GeometryError("the question holds no region [left, top, right, bottom] in fractions")
    return boxes


def _named(text: str) -> str:
    """The question with ``<region1>``, ``<region2>`` in place of the numbers."""
    places = iter(range(1, len(_BOX.findall(text)) + 1))
    return _BOX.sub(lambda _: f"<region{next(places)}>", text)


def _records(
    path: Path, sizes: ImageSizes, answers: dict[Any, str], prefix: str, skips: Skips
) -> Iterator[Record]:
    for line, entry in read_json_lines(path):
        try:
            file, number = str(entry["image"]), entry["question_id"]
            image = ImageRef(file, *sizes[file], image_number(file))
            boxes = _regions(entry["text"], image.width, image.height)
            name = f"{prefix}.{number}"
            yield Record(
                id=name,
                image=image,
                text=_named(entry["text"]),
                targets=[Target(box=box) for box in boxes],
                object=name,
                references=[answers[number]] if number in answers else None,
                facts={"kind": str(entry.get("category", ""))},
                extra={"question_id": number, "question": entry["text"]},
            )
        except GeometryError as error:
            skips.reject(path, f"line {line}", str(error))
        except (KeyError, TypeError) as error:
            skips.reject(path, f"line {line}", "a field or the size of the picture is missing", repr(error))


def read(paths: Sequence[Path], skips: Skips, *, sizes: Path, image_root: str | None = None) -> list[Part]:
    """The one part of a folder of questions.

    Raises:
        SourceError: a file is missing or of another layout.
    """
    path = one_path(paths, "question.jsonl, or its folder")
    path = path / "question.jsonl" if path.is_dir() else path
    answers = path.with_name(_ANSWERS)
    try:
        known = (
            {e["question_id"]: e["text"] for _, e in read_json_lines(answers)} if answers.is_file() else {}
        )
    except KeyError as error:
        raise SourceError(f"{answers}: an answer has no {error}.") from error
    part = path.parent.name.replace("_", "-") or "all"
    header = Header(
        "ferret-bench",
        part,
        "test",
        task=["caption"],
        image_root="coco/val2017" if image_root is None else image_root,
        licence=f"questions: as published with Ferret; {LICENCES['coco']}",
        source={file.name: file_digest(file) for file in (path, answers) if file.is_file()},
    )
    records = _records(path, ImageSizes(sizes), known, f"ferret-bench.{part}", skips)
    return [Part(header, records, skips)]


SPEC = SourceSpec(
    name="ferret-bench",
    help="Ferret-Bench: questions about regions, whose answers another model judges.",
    paths="the folder of question.jsonl and answer.jsonl, such as refer_reason",
    options=(
        Option("sizes", Path, None, "Folder of the pictures, or a file with their sizes.", required=True),
        IMAGE_ROOT,
    ),
    read=read,
)
