"""`refkit data check`: every problem of a records file and its pictures, with its line and what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from refkit import rle
from refkit.data.digest import RecordDigests
from refkit.data.files import image_folder
from refkit.data.record_scan import check_unique, header_fault, iter_lines
from refkit.data.schema import Header, ImageRef, Record, RecordError, Target
from refkit.data.validation import parse_header, parse_line, parse_record

# Published boxes stick out of their image by rounding and by inclusive corners.
_TOLERANCE = 1.0
_TEXT_TASKS = frozenset({"rec", "res", "grec", "gres"})
_INDEX = re.compile(r"\[\d+\]")
# Separators and control characters split a caption in two on its way through line-based scorers.
_CONTROL = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        line: counted from 1 (the header).
        record: id of the record, empty where it is unknown or the header is meant.
        field: as in ``targets[0].box``.
        reason: what is wrong.
        remedy: what to do about it.
        severity: ``error`` (the file must not be used) or ``warning``.
    """

    line: int
    record: str
    field: str
    reason: str
    remedy: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        parts = (f"{self.line}", self.field, self.reason)
        return ": ".join(part for part in parts if part) + (f". {self.remedy}" if self.remedy else "")


@dataclass(slots=True)
class CheckReport:
    """Outcome of a check.

    Attributes:
        path: the file.
        name: ``<dataset>.<split_by>.<split>``, empty when the header is broken.
        records: lines after the header.
        images: different pictures named.
        images_read: pictures opened and measured.
        problems: all of them, in the order of lines.
    """

    path: str
    name: str = ""
    records: int = 0
    images: int = 0
    images_read: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there is no error (warnings allowed)."""
        return not any(problem.severity == "error" for problem in self.problems)

    def folded(self) -> list[tuple[Problem, list[int]]]:
        """Problems to print, each with the lines of the warnings that it stands for.

        Every error stands alone. Warnings of one kind (the same field of other records, the same remedy) are
        one entry: the first of them, with the lines of all.
        """
        kinds: dict[object, tuple[Problem, list[int]]] = {}
        for number, problem in enumerate(self.problems):
            alone = problem.severity == "error"
            kind = number if alone else (_INDEX.sub("[]", problem.field), problem.remedy or problem.reason)
            kinds.setdefault(kind, (problem, []))[1].append(problem.line)
        return list(kinds.values())

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self) | {"ok": self.ok}


def check_file(
    path: str | os.PathLike[str],
    image_root: Path | None = None,
    root: Path | None = None,
    images: bool = True,
    track: Callable[[Iterable[Any], int, str], Iterable[Any]] = lambda items, total, title: items,
) -> CheckReport:
    """Check a whole records file; stops at nothing but a file that cannot be read as lines.

    Args:
        path: ``.jsonl`` or ``.jsonl.gz``.
        image_root: folder of the pictures; by default that of the header, below the data root.
        root: the data root; by default as in `refkit.data.files.data_root`.
        images: also open every picture and compare its size.
        track: ``(items, total, title) -> items``, for a progress bar.

    Raises:
        RecordError: no such file, no text, a damaged gzip stream.
    """
    check = _FileCheck(os.fspath(path))
    for number, _, line in iter_lines(path):
        check.take(number, line)
    check.finish()
    if images:
        folder = image_folder(check.image_root, image_root, root)
        check.report.problems += _check_images(check, folder, track)
    check.report.problems.sort(key=lambda problem: problem.line)
    return check.report


class _FileCheck:
    """State of one pass: what was seen so far and what was wrong with it."""

    def __init__(self, path: str) -> None:
        self.report = CheckReport(path)
        self.pictures: dict[str, tuple[int, ImageRef]] = {}
        self._header: Header | None = None
        self._ids: dict[str, int] = {}
        self._objects: dict[str, tuple[int, Record]] = {}
        self._digests = RecordDigests()
        self._intact = True

    def take(self, number: int, line: bytes) -> None:
        """One line of the file."""
        if number > 1:
            self.report.records += 1
        try:
            fields = parse_line(line)
            if number == 1:
                self._header = parse_header(fields)
                self.report.name = self._header.name
                return
            record = parse_record(fields)
        except RecordError as error:
            self._intact = False
            self.report.problems.append(Problem(number, "", error.field, error.reason))
            return
        self._digests.add(record)
        tasks = self._header.task if self._header else []
        found = [*self._against_earlier(number, record), *check_record(record, tasks)]
        self.report.problems += [
            Problem(number, record.id, place, reason, remedy, severity)
            for place, reason, remedy, severity in found
        ]

    def finish(self) -> None:
        """Counts and digests of the header; they say nothing while lines are broken."""
        self.report.images = len(self.pictures)
        plain, masks = self._digests.finish()
        if self._header is None or not self._intact:
            return
        found: dict[str, int | str] = {
            "records": self.report.records,
            "images": self.report.images,
            "digest": plain,
            "digest_masks": masks,
        }
        for place, value in found.items():
            reason = header_fault(self._header, place, value)
            if reason:
                self.report.problems.append(Problem(1, "", place, reason))

    @property
    def image_root(self) -> str:
        """As the header states it."""
        return self._header.image_root if self._header else ""

    def _against_earlier(self, number: int, record: Record) -> Iterator[_Finding]:
        try:
            check_unique(record.id, number, self._ids)
        except RecordError as error:
            yield error.field, error.reason, "", "error"
        line, image = self.pictures.setdefault(record.image.file, (number, record.image))
        if image != record.image:
            reason = f"{record.image.file} has another size or number on line {line}"
            yield "image", reason, "One picture has one size and one number; correct the wrong line", "error"
        if record.object is not None:
            line, first = self._objects.setdefault(record.object, (number, record))
            if (first.image.file, first.targets) != (record.image.file, record.targets):
                reason = f"{record.object!r} has another image or other targets on line {line}"
                yield "object", reason, "Expressions of one object share both; give it its own name", "error"


_Finding = tuple[str, str, str, str]
"""``(field, reason, remedy, severity)``."""


def check_record(record: Record, tasks: Iterable[str]) -> Iterator[_Finding]:
    """What is wrong with a valid record on its own.

    Args:
        record: of a file.
        tasks: of the file's header; they decide what a record needs.

    Yields:
        ``(field, reason, remedy, severity)``.
    """
    tasks = set(tasks)
    yield from _check_text(record, bool(tasks & _TEXT_TASKS))
    for index, target in enumerate(record.targets):
        place = f"targets[{index}]"
        if target.box is None and "rec" in tasks:
            yield f"{place}.box", "missing, and the file's task is rec", "Derive it or drop the task", "error"
        if target.mask is None and tasks & {"res", "gres"}:
            remedy = "Mask training and scoring need one; take res out of the header's task otherwise"
            yield f"{place}.mask", "missing, and the file's task needs masks", remedy, "warning"
        if target.box is not None:
            yield from _check_box(f"{place}.box", target.box, record.image)
        if target.mask is not None:
            yield from _check_mask(f"{place}.mask", target)


def _check_text(record: Record, needed: bool) -> Iterator[_Finding]:
    if needed and record.text is None:
        yield "text", "missing, and the file's task takes text", "Add it or remove the record", "error"
    if record.text is not None and not record.text.strip():
        yield "text", "empty", "Write the expression or remove the record", "error"
    for place, text in [("text", record.text), *(("references", item) for item in record.references or [])]:
        found = _CONTROL.search(text or "")
        if found:
            reason = f"control character {found.group()!r}"
            yield place, reason, "Replace it by a blank: it splits a caption in two lines", "warning"


def _check_box(place: str, box: tuple[float, float, float, float], image: ImageRef) -> Iterator[_Finding]:
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        yield place, f"{list(box)} has no area", "Correct the box or remove the record", "error"
    outside = max(-left, -top, right - image.width, bottom - image.height)
    if outside > _TOLERANCE:
        reason = f"{list(box)} leaves the {image.width} x {image.height} image by {outside:.2f} pixels"
        yield place, reason, "Is it [x, y, width, height], or of a resized picture?", "error"


def _check_mask(place: str, target: Target) -> Iterator[_Finding]:
    assert target.mask is not None
    bounds = rle.bounds(target.mask)
    if bounds is None:
        yield place, "the mask is empty", "Remove the mask, or the target when nothing is meant", "error"
    elif target.box is not None and _iou(bounds, target.box) < 0.5:
        reason = f"the mask spans {list(bounds)}, the box is {list(target.box)}"
        yield place, reason, "They should enclose the same object", "warning"


def _iou(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    union = sum(areas) - shared
    return shared / union if union > 0 else 0.0


def _check_images(
    check: _FileCheck,
    folder: Path,
    track: Callable[[Iterable[Any], int, str], Iterable[Any]],
) -> list[Problem]:
    """Every picture once: present, readable, of the stated size."""
    if not folder.is_dir():
        remedy = "Set --data-root, REFKIT_DATA or --image-root, or check with --no-images"
        return [Problem(1, "", "image_root", f"{folder} is no folder, so no picture was checked", remedy)]
    pictures = list(check.pictures.values())
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 2) + 2)) as pool:
        faults = pool.map(lambda item: _image_fault(folder, item[1]), pictures)
        results = list(track(faults, len(pictures), "pictures"))
    check.report.images_read = sum(fault is None for fault in results)
    return [
        Problem(line, "", "image.file", fault)
        for (line, _), fault in zip(pictures, results, strict=True)
        if fault
    ]


def _image_fault(root: Path, image: ImageRef) -> str | None:
    from refkit.data.images import ImageError, find_image, load_image

    try:
        load_image(find_image(root, image.file), size=(image.width, image.height))
    except ImageError as error:
        return str(error)
    return None
