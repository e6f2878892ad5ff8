"""REFER distribution: written in its exact layout from real and made-up annotations, and imported back."""

from __future__ import annotations

import gzip
import hashlib
import json
import pickle
from collections import Counter
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from refer_layout import ReferWriter, clean, write_refer

from refkit import rle
from refkit.data.names import KNOWN_COUNTS
from refkit.data.records import read_records
from refkit.data.safe_pickle import UnsafePickleError
from refkit.data.sources import SourceError, import_source
from refkit.data.sources.refer import image_of, in_split, split_names

SETS = {"refcoco": ("refcoco", "unc"), "refcocoplus": ("refcoco+", "unc"), "refcocog": ("refcocog", "umd")}
SPLITS = ("val", "testA", "testB", "test")


def entry(number: int = 1, split: str = "val", texts: tuple[str, ...] = ("Left dog!", "the dog"), **fields):
    return {
        "image": f"COCO_train2014_{number:012d}.jpg",
        "image_id": number,
        "width": 100,
        "height": 80,
        "split": split,
        "bbox": [10.0, 20.0, 30.5, 40.25],
        "segmentation": [[10, 20, 40, 20, 40, 60, 10, 60]],
        "category": "dog",
        "expressions": list(texts),
        **fields,
    }


def load_entries(shared: Path, name: str) -> list[dict]:
    found = []
    for split in SPLITS:
        path = shared / "data" / "refcoco_full_eval" / f"{name}_{split}.jsonl.gz"
        if path.exists():
            found += [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    return found


@pytest.fixture(scope="session")
def evaluation_sets(shared, tmp_path_factory):
    """The three sets written as REFER folders and imported: entries, writers, and ``(header, records)`` by set."""
    folder = tmp_path_factory.mktemp("refer")
    imported = {}
    for name, (title, split_by) in SETS.items():
        entries = load_entries(shared, name)
        writer = write_refer(folder / title, entries, split_by, python2=False)
        files = import_source("refer", folder / title, folder / "records")
        imported[name] = (entries, writer, [read_records(path) for path in files])
    return imported


@pytest.mark.shared
def test_the_eight_evaluation_splits_come_back_complete(evaluation_sets):
    total = []
    for _, writer, files in evaluation_sets.values():
        for header, records in files:
            known = KNOWN_COUNTS[header.name]
            assert (len(records), header.images) == (known.expressions, known.images)
            assert len({record.object for record in records}) == known.objects
            refs = [ref for ref in writer.refs if ref["split"] == header.split]
            ids = [
                f"{header.dataset}.{header.split_by}.{number}" for ref in refs for number in ref["sent_ids"]
            ]
            assert [record.id for record in records] == ids
            total.append(len(records))
    assert (len(total), sum(total)) == (8, 57_457)


@pytest.mark.shared
def test_nothing_of_the_real_annotations_is_lost(evaluation_sets):
    for entries, _, files in evaluation_sets.values():
        read = Counter(
            (
                record.image,
                record.extra["raw"],
                record.text,
                record.targets[0].box,
                record.targets[0].category,
            )
            for record in (hashable(record) for _, records in files for record in records)
        )
        meant: Counter = Counter()
        for line in entries:
            x, y, width, height = line["bbox"]
            box = (x, y, round(x + width, 6), round(y + height, 6))
            size = (line["image"], line["width"], line["height"], line["image_id"])
            for raw in line["expressions"]:
                meant[(size, raw, clean(raw), box, line["category"])] += 1
        assert read == meant


def hashable(record):
    return replace(record, image=astuple(record.image))


@pytest.mark.shared
@pytest.mark.parametrize("protocol", [0, 2])
def test_real_polygons_and_python_2_strings_come_back(shared, tmp_path, protocol):
    lines = (shared / "data" / "refcoco_images" / "records.jsonl").read_text().splitlines()
    entries = [
        line for line in map(json.loads, lines) if line["dataset"] == "refcoco" and line["segmentation"]
    ]
    write_refer(tmp_path / "refcoco", entries, "unc", protocol=protocol)
    files = import_source("refer", tmp_path / "refcoco", tmp_path / "out")
    records = [record for path in files for record in read_records(path)[1]]
    assert len(records) == sum(len(line["expressions"]) for line in entries)
    for record in records:
        assert rle.area(record.targets[0].mask) > 0


def test_python_2_protocols_masks_raw_text_and_ids(tmp_path):
    overlap = [[10, 20, 40, 20, 40, 60, 10, 60], [20, 30, 60, 30, 60, 70, 20, 70]]
    entries = [
        entry(1, ref_id=7, ann_id=70, sent_ids=[3, 4], segmentation=overlap),
        entry(2, "testA", ("café",)),
    ]
    for protocol in (0, 2):
        folder = tmp_path / str(protocol) / "refcoco"
        write_refer(folder, entries, "unc", protocol=protocol)
        files = import_source("refer", folder, tmp_path / str(protocol) / "out", polygons=True)
        assert [path.name for path in files] == ["refcoco.unc.val.jsonl", "refcoco.unc.testA.jsonl"]
        header, records = read_records(files[0])
        assert header.task == ["rec", "res"]
        assert set(header.source) == {"refs(unc).p", "instances.json"}
        assert [record.id for record in records] == ["refcoco.unc.3", "refcoco.unc.4"]
        first = records[0]
        assert (first.text, first.extra["raw"], first.object) == ("left dog", "Left dog!", "refcoco.unc.7")
        target = first.targets[0]
        assert (target.id, target.category, target.box) == (70, "dog", (10.0, 20.0, 40.5, 60.25))
        assert target.polygons == overlap
        parts = coco_mask.decode(
            coco_mask.frPyObjects([[float(v) for v in part] for part in overlap], 80, 100)
        )
        assert np.array_equal(rle.decode(target.mask), parts.any(axis=2))
        assert parts.sum(axis=2).max() == 2
        assert read_records(files[1])[1][0].text == "café"


def test_refclef_masks_are_rle_and_split_strings_may_mean_two_splits(tmp_path):
    pixels = np.zeros((80, 100), np.uint8, order="F")
    pixels[20:60, 10:40] = 1
    compressed = coco_mask.encode(pixels)
    compressed["counts"] = compressed["counts"].decode()
    runs = [10 * 80 + 20] + [40, 40] * 29 + [40, 20 + 60 * 80]
    image = {"image": "25.jpg", "bbox": [10, 20, 30, 40]}
    entries = [
        entry(25, "testAB", segmentation=[compressed], **image),
        entry(25, "testC", segmentation={"size": [80, 100], "counts": runs}, **image),
        entry(25, "train", segmentation=[], **image),
    ]
    write_refer(tmp_path / "refclef", entries, "unc")
    files = import_source("refer", tmp_path / "refclef", tmp_path / "out")
    assert [path.name for path in files] == [
        f"referit.unc.{split}.jsonl" for split in ("train", "testA", "testB", "testC")
    ]
    masks = [read_records(path)[1][0].targets[0].mask for path in files]
    assert masks[0] is None
    for mask in masks[1:]:
        assert np.array_equal(rle.decode(mask), pixels.astype(bool))
    union = import_source("refer", tmp_path / "refclef", tmp_path / "union", splits=["test"])
    assert len(read_records(union[0])[1]) == 4


def test_split_strings_and_file_names_follow_refer():
    assert split_names("testAB") == ("testA", "testB")
    assert split_names("val") == ("val",)
    assert in_split("testBC", "testC") and not in_split("testBC", "testA")
    assert in_split("testA", "test") and not in_split("train", "test")
    assert image_of("COCO_train2014_000000581857_16.jpg") == "COCO_train2014_000000581857.jpg"
    assert image_of("25.jpg") == "25.jpg"


def test_missing_sentence_ids_are_assigned_from_the_content(tmp_path):
    writer = ReferWriter()
    for sentence in writer.add(entry(texts=("dog", "dog", "cat")))["sentences"]:
        del sentence["sent_id"]
    writer.write(tmp_path / "refcocog", "umd")
    path = import_source("refer", tmp_path / "refcocog", tmp_path / "out")[0]
    ids = [record.id for record in read_records(path)[1]]
    assert ids[1] == ids[0] + "-2"
    digest = hashlib.sha256(b"1\n10.00,20.00,40.50,60.25\ndog").hexdigest()
    assert ids[0] == f"refcocog.umd.x{digest[:12]}"


def test_division_and_splits_are_chosen_and_unknown_ones_refused(tmp_path):
    folder = tmp_path / "refcocog"
    ReferWriter().write(folder, "umd")
    write_refer(folder, [entry(), entry(2, "train")], "google")
    files = import_source("refer", folder, tmp_path / "out", split_by="google", splits="val")
    assert [path.name for path in files] == ["refcocog.google.val.jsonl"]
    with pytest.raises(SourceError, match=r"no split 'testA'; it has train, val"):
        import_source("refer", folder / "refs(google).p", tmp_path / "out", splits=["testA"])
    with pytest.raises(SourceError, match=r"has no refs\(unc\)\.p; it holds"):
        import_source("refer", folder, tmp_path / "out", split_by="unc")
    other = folder.rename(tmp_path / "mine")
    with pytest.raises(SourceError, match="--dataset"):
        import_source("refer", other / "refs(google).p", tmp_path / "out")
    named = import_source(
        "refer", other / "refs(google).p", tmp_path / "out", dataset="refcocog", splits=["train"]
    )
    assert named[0].name == "refcocog.google.train.jsonl"


def broken(change):
    writer = ReferWriter()
    writer.add(entry(ref_id=5, ann_id=50))
    writer.add(entry(2, ref_id=6, ann_id=60))
    change(writer)
    return writer


BROKEN = {
    "its image is not in instances.json": lambda w: w.images.pop(1),
    "its annotation is not in instances.json": lambda w: w.annotations.pop(50),
    "its annotation belongs to another image": lambda w: w.annotations[50].update(image_id=2),
    "file_name and image_id mean two images": lambda w: w.refs[0].update(
        file_name="COCO_train2014_000000000003_5.jpg"
    ),
    "the box has no area": lambda w: w.annotations[50].update(bbox=[1, 2, 0, 5]),
    "the box leaves its image": lambda w: w.annotations[50].update(bbox=[1, 2, 200, 5]),
    "the box does not hold four numbers": lambda w: w.annotations[50].update(bbox=[1, 2, None, 5]),
    "the box does not hold four finite numbers": lambda w: w.annotations[50].update(bbox=[1, 2, 5]),
    "a polygon does not hold at least three points": lambda w: w.annotations[50].update(
        segmentation=[[1, 2, 3, 4]]
    ),
    "the runs of the mask do not cover": lambda w: w.annotations[50].update(
        segmentation=[{"size": [80, 100], "counts": [5]}]
    ),
    "the mask has size": lambda w: w.annotations[50].update(segmentation=[{"size": [8, 10], "counts": "a"}]),
    "the mask's counts": lambda w: w.annotations[50].update(
        segmentation=[{"size": [80, 100], "counts": "a"}]
    ),
    "neither a list of polygons nor RLE": lambda w: w.annotations[50].update(segmentation="polygon"),
    "the field 'sentences' is missing (there are ref_id,": lambda w: w.refs[0].pop("sentences"),
}


@pytest.mark.parametrize("reason", list(BROKEN))
def test_a_broken_entry_stops_the_import_or_is_counted(tmp_path, reason, caplog):
    broken(BROKEN[reason]).write(tmp_path / "refcoco", "unc")
    with pytest.raises(SourceError, match=r"refs\(unc\)\.p: entry 0") as caught:
        import_source("refer", tmp_path / "refcoco", tmp_path / "out")
    assert reason in str(caught.value)
    assert "--skip-invalid" in str(caught.value)
    assert not list((tmp_path / "out").glob("*"))
    path = import_source("refer", tmp_path / "refcoco", tmp_path / "out", skip_invalid=True)[0]
    header, records = read_records(path)
    assert len(records) == 2
    assert sum(header.extra["skipped_invalid"].values()) == 1
    assert "1 entries left out as invalid" in caplog.text


def test_an_empty_text_is_refused(tmp_path):
    writer = ReferWriter()
    writer.add(entry())["sentences"][0]["sent"] = " "
    writer.write(tmp_path / "refcoco", "unc")
    with pytest.raises(SourceError, match="sentence 0: the text is empty"):
        import_source("refer", tmp_path / "refcoco", tmp_path / "out")


def test_numbers_that_stand_twice_in_instances_are_refused(tmp_path):
    folder = tmp_path / "refcoco"
    write_refer(folder, [entry()], "unc")
    data = json.loads((folder / "instances.json").read_text())
    data["annotations"].append({**data["annotations"][0], "bbox": [1, 1, 2, 2]})
    (folder / "instances.json").write_text(json.dumps(data))
    number = data["annotations"][0]["id"]
    with pytest.raises(SourceError, match=rf"instances\.json: annotations: the id {number} stands twice"):
        import_source("refer", folder, tmp_path / "out")


def test_files_of_another_layout_are_refused(tmp_path):
    folder = tmp_path / "refcoco"
    write_refer(folder, [entry()], "unc")
    with pytest.raises(SourceError, match=r"elsewhere\.json does not exist"):
        import_source("refer", folder, tmp_path / "out", instances=tmp_path / "elsewhere.json")
    (folder / "instances.json").write_text('{"images": []}')
    with pytest.raises(SourceError, match="not COCO's layout"):
        import_source("refer", folder, tmp_path / "out")
    (folder / "instances.json").write_text("{")
    with pytest.raises(SourceError, match=r"instances\.json:1: this is not JSON"):
        import_source("refer", folder, tmp_path / "out")
    write_refer(folder, [entry()], "unc")
    (folder / "refs(unc).p").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(SourceError, match="this is another pickle"):
        import_source("refer", folder, tmp_path / "out")
    (folder / "refs(unc).p").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UnsafePickleError, match=r"os\.system"):
        import_source("refer", folder, tmp_path / "out")
