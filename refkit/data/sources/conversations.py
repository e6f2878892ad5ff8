"""Conversations about pictures and their regions: instruction data of LLaVA and Osprey.

A list of ``{id, image or file_name, conversations: [{from, value}, …]}``; Osprey's entries have
``annotation: [{bbox, segmentation}, …]`` besides, which ``<region1>``, ``<region2>`` in the text refer to, or
``description: ["<region1>: …", …]`` in place of a conversation. Every answer becomes a record: ``text`` is
the question, the answer its reference, the targets are the regions that the question names (all where it
names none; the whole picture where there are no regions). ``facts["history"]`` holds the exchanges before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from refkit.data.records import ImageRef, Record, Target
from refkit.data.sources.geometry import GeometryError, check_box, from_xywh, unite
from refkit.data.sources.identity import header_of_file, image_number
from refkit.data.sources.readfile import read_json
from refkit.data.sources.sizes import ImageSizes
from refkit.data.sources.spec import IMAGE_ROOT, Option, Part, Skips, SourceSpec, one_path

DESCRIBE = "Describe <region{}> in detail."
_REGION = re.compile(r"<region(\d+)>")
_DESCRIPTION = re.compile(r"<region(\d+)>\s*:\s*(.+)", re.DOTALL)

Exchange = tuple[str, str]


def exchanges_of(entry: dict[str, Any]) -> list[Exchange]:
    """Questions with their answers.

    Raises:
        GeometryError: somebody speaks twice in a row, or a text is empty.
    """
    if "description" in entry:
        return [_described(text) for text in entry["description"]]
    turns = entry["conversations"]
    speakers = [turn["from"] for turn in turns]
    if not turns or len(turns) % 2 or speakers != ["human", "gpt"] * (len(turns) // 2):
        raise GeometryError("the conversation is not questions of 'human' and answers of 'gpt' in turn")
    texts = [turn["value"].replace("<image>", "").strip() for turn in turns]
    if not all(texts):
        raise GeometryError("a question or an answer is empty")
    return list(zip(texts[::2], texts[1::2], strict=True))


def _described(text: str) -> Exchange:
    found = _DESCRIPTION.fullmatch(text.strip())
    if found is None:
        raise GeometryError("a description does not begin with <region1>: or the like")
    return DESCRIBE.format(found[1]), found[2].strip()


class _Conversations:
    """Entries of one file to records."""

    def __init__(self, path: Path, prefix: str, sizes: ImageSizes | None, skips: Skips) -> None:
        self._path, self._prefix, self._sizes, self._skips = path, prefix, sizes, skips

    def records(self, entries: Sequence[Any], most_regions: int) -> Iterator[Record]:
        """One record per answer."""
        for place, entry in enumerate(entries):
            try:
                made = list(self._one(place, entry))
            except GeometryError as error:
                self._skips.reject(self._path, f"entry {place}", str(error), _picture(entry))
                continue
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                self._skips.reject(
                    self._path, f"entry {place}", "a field is missing or of another type", repr(error)
                )
                continue
            for record in made:
                if most_regions and len(record.targets) > most_regions:
                    self._skips.left_out[f"question about more than {most_regions} region(s)"] += 1
                else:
                    yield record

    def _one(self, place: int, entry: dict[str, Any]) -> Iterator[Record]:
        image = self._image(entry)
        regions = [
            self._target(number, part, image) for number, part in enumerate(entry.get("annotation", ()))
        ]
        # Numbers of conversations are not unique in the published files.
        name = f"{self._prefix}.{place}"
        history: list[Exchange] = []
        for turn, (question, answer) in enumerate(exchanges_of(entry)):
            facts: dict[str, Any] = {"history": [list(pair) for pair in history]} if history else {}
            yield Record(
                id=f"{name}.{turn}",
                image=image,
                text=question,
                targets=_meant(question, regions, image),
                object=name,
                references=[answer],
                facts=facts or None,
            )
            history.append((question, answer))

    def _image(self, entry: dict[str, Any]) -> ImageRef:
        file = str(entry["file_name"] if "file_name" in entry else entry["image"])
        if "width" in entry:
            return ImageRef(file, int(entry["width"]), int(entry["height"]), image_number(file))
        if self._sizes is None:
            raise GeometryError("the entry states no size of its picture; give --sizes")
        try:
            return ImageRef(file, *self._sizes[file], image_number(file))
        except KeyError as error:
            raise GeometryError("the picture's size is not known (from --sizes)") from error

    def _target(self, number: int, part: dict[str, Any], image: ImageRef) -> Target:
        mask = unite(part.get("segmentation"), image.width, image.height)
        if part.get("bbox") is None:
            if mask is None:
                raise GeometryError("a region has neither bbox nor segmentation")
            return Target(mask=mask, id=number + 1)
        box = from_xywh(part["bbox"])
        check_box(box, image.width, image.height)
        return Target(box=box, mask=mask, id=number + 1)


def _picture(entry: dict[str, Any]) -> str:
    return str(entry.get("file_name", entry.get("image", "")))


def _meant(question: str, regions: Sequence[Target], image: ImageRef) -> list[Target]:
    """The regions that a question is about.

    Raises:
        GeometryError: it names a region that the entry does not have.
    """
    if not regions:
        return [Target(box=(0.0, 0.0, float(image.width), float(image.height)))]
    named = list(dict.fromkeys(int(number) for number in _REGION.findall(question)))
    if any(not 1 <= number <= len(regions) for number in named):
        raise GeometryError(f"a question names region {max(named)}, the entry has {len(regions)}")
    return [regions[number - 1] for number in named] if named else list(regions)


def read(
    paths: Sequence[Path],
    skips: Skips,
    *,
    name: str,
    sizes: Path | None = None,
    most_regions: int = 1,
    image_root: str | None = None,
) -> list[Part]:
    """The one part of a file; options as in `SPEC`.

    Raises:
        SourceError: the file is missing or of another layout.
    """
    path = one_path(paths, "a JSON list of conversations")
    header = header_of_file(path, name, "caption", image_root or "")
    entries = read_json(path, list)
    known = None if sizes is None else ImageSizes(sizes)
    reader = _Conversations(path, f"{header.dataset}.{header.split_by}", known, skips)
    return [Part(header, reader.records(entries, most_regions), skips, len(entries))]


SPEC = SourceSpec(
    name="conversations",
    help="Instruction data of LLaVA and Osprey: questions and answers about pictures and regions.",
    paths="one JSON file",
    options=(
        Option("name", str, None, "Name of the set to write, <dataset>.<split_by>.<split>.", required=True),
        Option("sizes", Path, None, "Image sizes where entries state none: a folder of pictures or a file."),
        Option(
            "most_regions", int, 1, "Leave out questions about more regions than this; 0 keeps all of them."
        ),
        IMAGE_ROOT,
    ),
    read=read,
)
