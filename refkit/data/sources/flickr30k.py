"""Flickr30k Entities: ``Annotations/<image>.xml``, ``Sentences/<image>.txt`` and the split lists.

A sentence marks its phrases as ``[/EN#<chain>/<type>… words]``; the XML gives the boxes of a chain, or says
that it is the scene or has no box. Chain 0 is not visual. One phrase may own several boxes: three people are
"a group".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from refkit.data.records import Header, ImageRef, Record, Target
from refkit.data.sources.geometry import Box, GeometryError, check_box, four_numbers
from refkit.data.sources.identity import (
    IMAGE_ROOTS,
    LICENCES,
    IdAssigner,
    enclosing,
    file_digest,
    folder_digest,
    image_number,
)
from refkit.data.sources.readfile import read_text
from refkit.data.sources.spec import (
    IMAGE_ROOT,
    SPLITS,
    Option,
    Part,
    Skips,
    SourceError,
    SourceSpec,
    one_path,
)

_PREFIX = "flickr30k.entities"
_PHRASE = re.compile(r"\[/EN#(\d+)((?:/[^\s\]/]+)+)\s+([^\]]*)\]")
_NOT_VISUAL = "0"


def parse_annotation(text: str) -> tuple[int, int, dict[str, list[Box]]]:
    """Width, height and boxes by chain of one XML file.

    The numbers of ``bndbox`` are taken as xyxy as they stand, as all published evaluations do.

    Raises:
        GeometryError: not XML, or without size or coordinates.
    """
    try:
        root: Element = fromstring(text)
        width, height = int(root.findtext("size/width", "")), int(root.findtext("size/height", ""))
        boxes: dict[str, list[Box]] = defaultdict(list)
        for item in root.iter("object"):
            found = [
                four_numbers(corner.findtext(key) for key in ("xmin", "ymin", "xmax", "ymax"))
                for corner in item.iter("bndbox")
            ]
            for name in item.iter("name"):
                boxes[(name.text or "").strip()].extend(found)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise GeometryError(f"not an annotation of Flickr30k Entities ({error})") from error
    for box in (box for group in boxes.values() for box in group):
        check_box(box, width, height)
    return width, height, {chain: group for chain, group in boxes.items() if group}


def parse_sentence(line: str) -> tuple[str, list[tuple[str, list[str], str]]]:
    """The plain sentence, and ``(chain, types, words)`` of its phrases.

    Raises:
        GeometryError: a phrase is not closed or not of the expected form.
    """
    phrases = [
        (chain, types.strip("/").split("/"), words.strip()) for chain, types, words in _PHRASE.findall(line)
    ]
    if line.count("[/EN#") != len(phrases):
        raise GeometryError("a phrase is not of the form [/EN#<chain>/<type> words]")
    return _PHRASE.sub(lambda found: found.group(3), line).strip(), phrases


class _Pictures:
    """Pictures of one split to records."""

    def __init__(self, folder: Path, merged: bool, unrelated: set[tuple[str, int]], skips: Skips) -> None:
        self._folder, self._merged, self._unrelated, self._skips = folder, merged, unrelated, skips
        self._ids = IdAssigner(_PREFIX)

    def records(self, pictures: Sequence[str]) -> Iterator[Record]:
        """One record per phrase with a box."""
        for picture in pictures:
            annotation = self._folder / "Annotations" / f"{picture}.xml"
            try:
                width, height, boxes = parse_annotation(read_text(annotation))
            except GeometryError as error:
                self._skips.reject(annotation, "the file", str(error))
                continue
            image = ImageRef(f"{picture}.jpg", width, height, image_number(picture))
            yield from self._sentences(picture, image, boxes)

    def _sentences(self, picture: str, image: ImageRef, boxes: dict[str, list[Box]]) -> Iterator[Record]:
        path = self._folder / "Sentences" / f"{picture}.txt"
        for number, line in enumerate(read_text(path).splitlines(), 1):
            if (picture, number) in self._unrelated:
                self._skips.left_out["caption listed as unrelated to its picture"] += 1
                continue
            try:
                sentence, phrases = parse_sentence(line)
            except GeometryError as error:
                self._skips.reject(path, f"line {number}", str(error))
                continue
            for chain, types, words in phrases:
                if self._visible(path, number, chain, words, boxes):
                    yield self._record(image, boxes[chain], chain, types, words, (number, sentence))

    def _visible(self, path: Path, number: int, chain: str, words: str, boxes: dict[str, list[Box]]) -> bool:
        if chain == _NOT_VISUAL:
            self._skips.left_out["phrase that is not visual"] += 1
            return False
        if chain not in boxes:
            self._skips.left_out["phrase without a box (scene, or marked so)"] += 1
            return False
        if not words:
            self._skips.reject(path, f"line {number}, chain {chain}", "the text is empty")
            return False
        return True

    def _record(
        self,
        image: ImageRef,
        boxes: list[Box],
        chain: str,
        types: list[str],
        words: str,
        sentence: tuple[int, str],
    ) -> Record:
        if self._merged:
            targets = [Target(box=enclosing(boxes), id=int(chain))]
        else:
            targets = [Target(box=box, id=int(chain), any=len(boxes) > 1) for box in boxes]
        return Record(
            id=self._ids.assign(image, boxes, words),
            image=image,
            text=words,
            targets=targets,
            object=f"{_PREFIX}.{chain}",
            extra={"sentence_number": sentence[0], "sentence": sentence[1], "phrase_types": types},
        )


def _read_split(folder: Path, split: str) -> tuple[Path, list[str]]:
    for name in (f"{split}.txt", f"split_{split}.txt"):
        for place in (folder, folder.parent):
            if (place / name).is_file():
                path = place / name
                return path, [line.strip() for line in read_text(path).splitlines() if line.strip()]
    raise SourceError(f"{folder} has no {split}.txt, the list of the split's pictures.")


def _read_unrelated(path: Path | None) -> set[tuple[str, int]]:
    """``UNRELATED_CAPTIONS``: ``<image> <sentence, counted from 1>`` per line."""
    if path is None:
        return set()
    rows = [
        line.split() for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")
    ]
    try:
        return {(picture, int(number)) for picture, number in rows}
    except ValueError as error:
        raise SourceError(f"{path}: expected '<image> <sentence number>' per line: {error}") from error


def _present(folder: Path, pictures: Sequence[str], listed: Path, subset: bool, skips: Skips) -> list[str]:
    """The pictures whose two files exist; missing ones are an error unless a subset was announced."""
    kept = []
    for picture in pictures:
        files = (folder / "Annotations" / f"{picture}.xml", folder / "Sentences" / f"{picture}.txt")
        missing = [file for file in files if not file.is_file()]
        if not missing:
            kept.append(picture)
        elif subset:
            skips.left_out["picture without annotation files"] += 1
        else:
            skips.reject(
                listed,
                f"picture {picture}",
                "a file of it is missing (give --subset for an excerpt)",
                str(missing[0]),
            )
    return kept


def read(
    paths: Sequence[Path],
    skips: Skips,
    *,
    splits: Sequence[str] = (),
    boxes: str = "any",
    unrelated: Path | None = None,
    subset: bool = False,
    image_root: str | None = None,
) -> list[Part]:
    """Parts of one Flickr30k Entities folder, one per split; options as in `SPEC`.

    Raises:
        SourceError: a file is missing or of another layout.
    """
    folder = one_path(paths, "the folder with Annotations/, Sentences/ and train.txt, val.txt, test.txt")
    if not (folder / "Annotations").is_dir() or not (folder / "Sentences").is_dir():
        raise SourceError(
            f"{folder} has no Annotations/ and Sentences/; give the unpacked folder of Flickr30k Entities."
        )
    listed = unrelated or next(iter(folder.glob("UNRELATED_CAPTIONS*")), None)
    parts = []
    for split in splits or ("train", "val", "test"):
        path, pictures = _read_split(folder, split)
        own = skips.fork()
        present = _present(folder, pictures, path, subset, own)
        reader = _Pictures(folder, boxes == "merged", _read_unrelated(listed), own)
        source = {path.name: file_digest(path)} | {
            kind: folder_digest(folder / kind / f"{picture}{ending}" for picture in present)
            for kind, ending in (("Annotations", ".xml"), ("Sentences", ".txt"))
        }
        header = Header(
            "flickr30k",
            "entities",
            split,
            image_root=image_root or IMAGE_ROOTS["flickr30k"],
            licence=LICENCES["flickr30k"],
            source=source,
            extra={"boxes": boxes},
        )
        parts.append(Part(header, reader.records(present), own, len(present)))
    return parts


SPEC = SourceSpec(
    name="flickr30k",
    help="Flickr30k Entities from the original Annotations XML, Sentences and split lists.",
    paths="the folder with Annotations/, Sentences/ and train.txt, val.txt, test.txt",
    options=(
        SPLITS,
        Option(
            "boxes",
            str,
            "any",
            "Of a phrase with several boxes: 'any' keeps all and hitting one is right, 'merged' writes the "
            "enclosing box.",
            ("any", "merged"),
        ),
        Option("unrelated", Path, None, "UNRELATED_CAPTIONS, where it is not in the folder."),
        Option(
            "subset", bool, False, "The folder holds only some of the listed pictures; leave out the others."
        ),
        IMAGE_ROOT,
    ),
    read=read,
)
