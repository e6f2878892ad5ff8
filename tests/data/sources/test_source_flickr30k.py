"""Flickr30k Entities from its original files: chains, several boxes, scenes, unrelated captions."""

from __future__ import annotations

import json
import shutil

import pytest

from refkit.data.records import read_records
from refkit.data.sources import SourceError, import_source

SENTENCES = (
    "[/EN#1/people Two men] in [/EN#2/clothing/other green shirts] near [/EN#3/scene a yard] .\n"
    "[/EN#2/clothing A shirt] and [/EN#0/notvisual a thing] and [/EN#4/other no box] .\n"
)


def item(names, *boxes, scene=None):
    corners = "".join(
        "<bndbox>"
        + "".join(
            f"<{key}>{value}</{key}>"
            for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        + "</bndbox>"
        for box in boxes
    )
    flags = "" if scene is None else f"<scene>{scene}</scene><nobndbox>{1 - scene}</nobndbox>"
    return "<object>" + "".join(f"<name>{name}</name>" for name in names) + corners + flags + "</object>"


ANNOTATION = (
    "<annotation><filename>7.jpg</filename><size><width>333</width><height>500</height><depth>3</depth></size>"
    + item(["1"], (10, 20, 110, 220))
    + item(["1", "2"], (150, 30, 250, 400))
    + item(["3"], scene=1)
    + item(["4"], scene=0)
    + "</annotation>"
)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "flickr"
    for name in ("Annotations", "Sentences"):
        (root / name).mkdir(parents=True)
    (root / "Annotations" / "7.xml").write_text(ANNOTATION)
    (root / "Sentences" / "7.txt").write_text(SENTENCES)
    (root / "val.txt").write_text("7\n")
    return root


def run(folder, out, **options):
    return read_records(import_source("flickr30k", folder, out, splits=["val"], **options)[0])


def test_any_keeps_all_boxes_and_merged_the_enclosing_one_under_the_same_ids(folder, tmp_path):
    header, records = run(folder, tmp_path / "any")
    assert header.name == "flickr30k.entities.val"
    assert [record.text for record in records] == ["Two men", "green shirts", "A shirt"]
    assert [(target.box, target.any) for target in records[0].targets] == [
        ((10, 20, 110, 220), True),
        ((150, 30, 250, 400), True),
    ]
    assert [(target.box, target.any) for target in records[1].targets] == [((150, 30, 250, 400), False)]
    assert records[1].object == records[2].object == "flickr30k.entities.2"
    assert records[1].extra == {
        "sentence_number": 1,
        "sentence": "Two men in green shirts near a yard .",
        "phrase_types": ["clothing", "other"],
    }
    assert header.extra["left_out"] == {
        "phrase without a box (scene, or marked so)": 2,
        "phrase that is not visual": 1,
    }
    merged_header, merged = run(folder, tmp_path / "merged", boxes="merged")
    assert merged[0].targets[0].box == (10, 20, 250, 400) and not merged[0].targets[0].any
    assert [record.id for record in merged] == [record.id for record in records]
    assert merged_header.digest != header.digest


def test_unrelated_captions_are_left_out_and_counted(folder, tmp_path):
    (folder / "UNRELATED_CAPTIONS").write_text("# format: <imageID> <sentence number>\n7 2\n")
    header, records = run(folder, tmp_path / "out")
    assert len(records) == 2
    assert header.extra["left_out"]["caption listed as unrelated to its picture"] == 1
    (folder / "UNRELATED_CAPTIONS").write_text("7\n")
    with pytest.raises(SourceError, match="<image> <sentence number>"):
        run(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("Annotations/7.xml", "<annotation>", "not an annotation of Flickr30k Entities"),
        ("Annotations/7.xml", "<annotation><size/></annotation>", "not an annotation"),
        ("Annotations/7.xml", ANNOTATION.replace("<xmax>250", "<xmax>100"), "the box has no area"),
        ("Annotations/7.xml", ANNOTATION.replace("<xmax>250", "<xmax>400"), "the box leaves its image"),
        (
            "Annotations/7.xml",
            '<!DOCTYPE a [<!ENTITY e "x">]><annotation>&e;</annotation>',
            "EntitiesForbidden",
        ),
        ("Sentences/7.txt", "[/EN#1/people Two men in a boat .\n", "line 1: a phrase is not of the form"),
        ("Sentences/7.txt", "[/EN#1/people  ] swim .\n", "line 1, chain 1: the text is empty"),
    ],
)
def test_broken_files_are_named_or_counted(folder, tmp_path, file, text, reason):
    (folder / file).write_text(text)
    with pytest.raises(SourceError, match=reason) as caught:
        run(folder, tmp_path / "out")
    assert file in str(caught.value)
    with pytest.raises(SourceError, match="nothing is usable"):
        run(folder, tmp_path / "out", skip_invalid=True)
    (folder / "val.txt").write_text("7\n8\n")
    (folder / "Annotations/8.xml").write_text(ANNOTATION)
    (folder / "Sentences/8.txt").write_text("[/EN#1/people Two men] .\n")
    header, _ = run(folder, tmp_path / "out", skip_invalid=True)
    assert sum(header.extra["skipped_invalid"].values()) == 1


def test_missing_pictures_and_folders_are_explained(folder, tmp_path):
    (folder / "val.txt").write_text("7\n8\n")
    with pytest.raises(SourceError, match=r"picture 8: a file of it is missing \(give --subset"):
        run(folder, tmp_path / "out")
    header, _ = run(folder, tmp_path / "out", subset=True)
    assert header.extra["left_out"]["picture without annotation files"] == 1
    with pytest.raises(SourceError, match=r"no train\.txt"):
        import_source("flickr30k", folder, tmp_path / "out", splits=["train"])
    shutil.rmtree(folder / "Sentences")
    with pytest.raises(SourceError, match="no Annotations/ and Sentences/"):
        run(folder, tmp_path / "out")


@pytest.mark.shared
def test_the_original_files_give_the_phrases_of_the_plain_records(shared, tmp_path):
    source = shared / "data" / "flickr30k_entities"
    folder = tmp_path / "flickr"
    shutil.copytree(source / "raw", folder)
    for split in ("train", "val", "test"):
        shutil.copy(source / f"split_{split}.txt", folder)
    files = import_source("flickr30k", folder, tmp_path / "out", subset=True)
    read = {
        (
            record.image.id,
            split,
            record.extra["sentence_number"],
            record.text.lower(),
            tuple(target.box for target in record.targets),
        )
        for path in files
        for header, records in [read_records(path)]
        for split in [header.split]
        for record in records
    }
    meant = set()
    for line in map(json.loads, (source / "records.jsonl").read_text().splitlines()):
        boxes = tuple((x, y, x + width, y + height) for x, y, width, height in line["bboxes"])
        text = line["expressions"][0].lower()
        meant.add((int(line["image_id"]), line["split"], line["sentence_id"] + 1, text, boxes))
    assert len(meant) > 1000
    assert {entry[:4] for entry in read} == {entry[:4] for entry in meant}
    assert {(*entry[:4], frozenset(entry[4])) for entry in read} == {
        (*entry[:4], frozenset(entry[4])) for entry in meant
    }
