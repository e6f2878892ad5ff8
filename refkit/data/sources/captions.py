"""Expressions of objects as captions: records of expressions become one record per object with all of them.

RefCOCOg and its kin are captions of regions as much as they are expressions; import them with ``refer``
first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from refkit.data.records import Header, Record, iter_records, read_header
from refkit.data.sources.identity import file_digest
from refkit.data.sources.region_records import TAG_LIST, TAGGER, CaptionFacts
from refkit.data.sources.spec import Part, Skips, SourceError, SourceSpec, one_path


def _objects(path: Path, facts: CaptionFacts, skips: Skips) -> Iterator[Record]:
    """One record per object, in the order in which objects first occur."""
    groups: dict[str, list[Record]] = {}
    for record in iter_records(path):
        if len(record.targets) != 1 or not record.text:
            skips.left_out["expression without exactly one target"] += 1
            continue
        groups.setdefault(record.object or record.id, []).append(record)
    for name, members in groups.items():
        captions = list(dict.fromkeys(member.text for member in members if member.text))
        first = members[0]
        yield Record(
            id=name,
            image=first.image,
            targets=first.targets,
            object=name,
            references=captions,
            facts=facts.of(captions) or None,
        )


def read(
    paths: Sequence[Path], skips: Skips, *, tagger: str = "none", tag_list: Path | None = None
) -> list[Part]:
    """The one part of a records file; options as in `SPEC`.

    Raises:
        SourceError: the records are no expressions.
        RecordError: the file is no valid records file.
    """
    path = one_path(paths, "a records file of expressions")
    source = read_header(path)
    if "rec" not in source.task:
        raise SourceError(f"{path} holds records for {', '.join(source.task)}; expected expressions (rec).")
    facts = CaptionFacts(tagger, tag_list)
    header = Header(
        source.dataset,
        f"{source.split_by}-captions",
        source.split,
        task=["caption"],
        image_root=source.image_root,
        licence=source.licence,
        source={path.name: file_digest(path)},
        extra=dict(facts.summary),
    )
    return [Part(header, _objects(path, facts, skips), skips)]


SPEC = SourceSpec(
    name="captions",
    help="Records of expressions as captions: one record per object (RefCOCOg region captions).",
    paths="one records file, as the source 'refer' writes it",
    options=(TAGGER, TAG_LIST),
    read=read,
)
