"""``.pth`` split lists of every generation, each read by its kind, and refused under another."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from PIL import Image
from refer_layout import ReferWriter, clean

from refkit import rle
from refkit.data.records import read_records
from refkit.data.sources import SourceError, import_source
from refkit.data.sources.join import join_records, write_join_table

COCO = "COCO_train2014_000000000009.jpg"
SIZE = {"height": 480, "width": 640}
SQUARE = [[300, 200, 500, 200, 500, 400, 300, 400]]


def save(path: Path, entries: list[tuple], torch_file: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if torch_file:
        import torch

        torch.save(entries, path)
    else:
        path.write_bytes(pickle.dumps(entries, 2))
    return path


@pytest.fixture
def sizes(tmp_path):
    path = tmp_path / "sizes.json"
    path.write_text(json.dumps({COCO: [640, 480], "25.jpg": [480, 360], "1000.jpg": [333, 500]}))
    return path


def transvg(box=(300, 200, 200.0, 200.0)):
    return (COCO, "mask.pth", list(box), "left dog", ["dog", "left"])


def hivg(box=(300.0, 200.0, 200.0, 200.0)):
    return (COCO, SIZE, list(box), "left dog", SQUARE)


CASES = {
    "transvg unc": ("transvg", "unc_val.pth", transvg(), "refcoco.unc.val", (300, 200, 500, 400)),
    "transvg referit": (
        "transvg",
        "referit_test.pth",
        ("25.jpg", "m", [0, 0, 324, 300], "sky", []),
        "referit.berkeley.test",
        (0, 0, 325, 301),
    ),
    "transvg flickr": (
        "transvg",
        "flickr_val.pth",
        ("1000.jpg", [150, 200, 300, 400], "a man"),
        "flickr30k.entities.val",
        (150, 200, 300, 400),
    ),
    "hivg unc+": ("hivg", "unc+_testA.pth", hivg(), "refcocoplus.unc.testA", (300, 200, 500, 400)),
    "hivg gref_umd": ("hivg", "gref_umd_test.pth", hivg(), "refcocog.umd.test", (300, 200, 500, 400)),
    "hivg referit": (
        "hivg",
        "referit_val.pth",
        ("25.jpg", "", [0, 0, 324, 300], "sky", ""),
        "referit.berkeley.val",
        (0, 0, 325, 301),
    ),
    "hivg flickr": (
        "hivg",
        "flickr_test.pth",
        ("1000.jpg", [150, 200, 300, 400], "a man"),
        "flickr30k.entities.test",
        (150, 200, 300, 400),
    ),
    "mixture": (
        "mixture",
        "mixup_train.pth",
        ("25.jpg", "referit", [100, 50, 324, 300], "sky", "placeholder"),
        "mixture.mixture.train",
        (100, 50, 424, 350),
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_every_generation_is_read_by_its_kind(tmp_path, sizes, case):
    kind, name, entry, full, box = CASES[case]
    path = save(tmp_path / name, [entry, entry])
    written = import_source("transvg", path, tmp_path / "out", kind=kind, sizes=sizes)
    header, records = read_records(written[0])
    assert written[0].name == f"{full}.jsonl"
    assert header.extra["kind"] == kind
    assert records[0].targets[0].box == box
    assert records[1].id == records[0].id + "-2"
    assert records[0].id.startswith(full.rpartition(".")[0] + ".x")
    has_mask = kind == "hivg" and isinstance(entry[1], dict)
    assert (records[0].targets[0].mask is not None) == has_mask
    if has_mask:
        assert rle.area(records[0].targets[0].mask) == 200 * 200


def test_a_mixture_keeps_each_picture_below_its_own_root(tmp_path, sizes):
    entries = [
        hivg(),
        ("25.jpg", "referit", [100, 50, 324, 300], "sky", "placeholder"),
        ("1000.jpg", "flickr", [10, 20, 300, 400], "a man", "placeholder"),
    ]
    path = save(tmp_path / "mixup_train.pth", entries, torch_file=True)
    written = import_source("transvg", path, tmp_path / "out", kind="mixture", sizes=sizes)
    header, records = read_records(written[0])
    assert header.image_root == ""
    assert [Path(record.image.file).parent.as_posix() for record in records] == [
        "coco/train2014",
        "referit/images",
        "flickr30k/images",
    ]
    assert [record.image.id for record in records] == [9, 25, 1000]


WRONG = {
    "xyxy read as xywh": (
        "mixture",
        "mixup_train.pth",
        ("25.jpg", "referit", [200, 150, 424, 350], "sky", "placeholder"),
        "xyxy is what kind transvg or hivg has",
    ),
    "xywh read as xyxy": (
        "hivg",
        "referit_val.pth",
        ("25.jpg", "", [200, 150, 124, 100], "sky", ""),
        "xywh is what kind mixture has",
    ),
    "flickr xywh": (
        "transvg",
        "flickr_val.pth",
        ("1000.jpg", [200, 300, 100, 90], "a man"),
        "xywh is what kind mixture has",
    ),
    "coco xyxy": ("transvg", "unc_val.pth", transvg((300, 200, 500, 400)), "is the name of the set right"),
    "hivg as transvg": ("transvg", "unc_val.pth", hivg(), "looks like kind hivg"),
    "transvg as hivg": ("hivg", "unc_val.pth", transvg(), "looks like kind transvg"),
    "mixture as hivg": (
        "hivg",
        "referit_val.pth",
        ("25.jpg", "referit", [0, 0, 4, 4], "sky", ""),
        "looks like kind mixture",
    ),
    "transvg as mixture": ("mixture", "mixup_val.pth", transvg(), "this is not kind mixture"),
    "flickr in five": ("hivg", "flickr_val.pth", hivg(), "has 3 fields here, found 5"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_a_wrong_kind_is_refused_with_the_reading_that_fits(tmp_path, sizes, case):
    kind, name, entry, message = WRONG[case]
    path = save(tmp_path / name, [entry])
    with pytest.raises(SourceError, match=message):
        import_source("transvg", path, tmp_path / "out", kind=kind, sizes=sizes)
    assert not (tmp_path / "out").exists()


def test_a_wrong_reading_is_refused_even_where_bad_entries_may_be_left_out(tmp_path, sizes):
    entries = [("25.jpg", "referit", [200, 150, 424, 350 - row], "sky", "placeholder") for row in range(5)]
    path = save(tmp_path / "mixup_train.pth", entries)
    with pytest.raises(SourceError, match=r"only 0 of 5 fit their images so, and 5 as xyxy \(entry 0: \[200"):
        import_source("transvg", path, tmp_path / "out", kind="mixture", sizes=sizes, skip_invalid=True)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (transvg((300, 200, 900, 200)), "the box leaves its image"),
        (transvg((300, 200, -5, 200)), "the box has no area"),
        (transvg((300, 200, float("nan"), 200)), "four finite numbers"),
        ((COCO, "m", [1, 2, 3, 4], "", []), "file name or text is missing"),
        (("other.jpg", "m", [1, 2, 3, 4], "dog", []), "the size of other.jpg is not known"),
        ("not a tuple", "found str"),
    ],
)
def test_a_single_bad_entry_is_named_or_counted(tmp_path, sizes, entry, reason):
    path = save(tmp_path / "unc_val.pth", [transvg(), entry, transvg()])
    with pytest.raises(SourceError, match=rf"entry 1: .*{reason}"):
        import_source("transvg", path, tmp_path / "out", kind="transvg", sizes=sizes)
    written = import_source("transvg", path, tmp_path / "out", kind="transvg", sizes=sizes, skip_invalid=True)
    header, records = read_records(written[0])
    assert len(records) == 2
    assert list(header.extra["skipped_invalid"].values()) == [1]


def test_sizes_come_from_pictures_annotations_records_or_coco(tmp_path, sizes):
    path = save(tmp_path / "unc_val.pth", [transvg()])
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (640, 480)).save(pictures / COCO)
    coco = tmp_path / "instances.json"
    coco.write_text(json.dumps({"images": [{"file_name": COCO, "width": 640, "height": 480}]}))
    first = import_source("transvg", path, tmp_path / "first", kind="transvg", sizes=sizes)[0]
    for place, given in enumerate((pictures, coco, first)):
        again = import_source("transvg", path, tmp_path / str(place), kind="transvg", sizes=given)[0]
        assert read_records(again)[0].digest == read_records(first)[0].digest


def test_missing_or_useless_sizes_are_explained(tmp_path, sizes):
    path = save(tmp_path / "unc_val.pth", [transvg()])
    with pytest.raises(SourceError, match="give --sizes"):
        import_source("transvg", path, tmp_path / "out", kind="transvg")
    with pytest.raises(SourceError, match="does not exist; expected a folder of pictures"):
        import_source("transvg", path, tmp_path / "out", kind="transvg", sizes=tmp_path / "nowhere")
    for text in ('{"a": 1}', '{"a": [1, 2, 3]}'):
        sizes.write_text(text)
        with pytest.raises(SourceError, match="holds no image sizes"):
            import_source("transvg", path, tmp_path / "out", kind="transvg", sizes=sizes)


def test_the_name_comes_from_the_file_or_the_option(tmp_path, sizes):
    path = save(tmp_path / "something.pth", [transvg()])
    with pytest.raises(SourceError, match="give --name"):
        import_source("transvg", path, tmp_path / "out", kind="transvg", sizes=sizes)
    with pytest.raises(SourceError, match="expected <dataset>"):
        import_source("transvg", path, tmp_path / "out", kind="transvg", sizes=sizes, name="refcoco")
    out = import_source(
        "transvg", path, tmp_path / "one.jsonl", kind="transvg", sizes=sizes, name="refcoco.unc.testa"
    )
    assert read_records(out[0])[0].name == "refcoco.unc.testA"
    with pytest.raises(SourceError, match="needs the option kind"):
        import_source("transvg", path, tmp_path / "out")
    empty = save(tmp_path / "unc_val.pth", [])
    with pytest.raises(SourceError, match="found an empty list"):
        import_source("transvg", empty, tmp_path / "out", kind="transvg", sizes=sizes)


def test_imports_of_one_split_are_joined_by_image_box_and_text(tmp_path):
    writer = ReferWriter()
    base = {"image": COCO, "image_id": 9, **SIZE, "split": "val", "segmentation": SQUARE}
    writer.add(
        {
            **base,
            "bbox": [300, 200, 200, 200],
            "expressions": ["Dog!", "dog", "left dog"],
            "sent_ids": [1, 2, 3],
        }
    )
    writer.add({**base, "bbox": [10, 20, 50, 60], "expressions": ["dog", "cat"], "sent_ids": [4, 5]})
    writer.write(tmp_path / "refcoco", "unc")
    refer = import_source("refer", tmp_path / "refcoco", tmp_path / "refer")[0]
    rows = [
        ([300, 200, 200, 200], "dog"),
        ([10, 20, 50, 60.4], "DOG"),
        ([300, 200, 200, 200], "dog"),
        ([300, 200, 200, 200], "left  dog"),
        ([10, 20, 50, 60], "bird"),
    ]
    path = save(tmp_path / "unc_val.pth", [(COCO, SIZE, box, text, SQUARE) for box, text in rows])
    lists = import_source("transvg", path, tmp_path / "lists", kind="hivg")[0]
    table = join_records(refer, lists)
    right = [record.id for record in read_records(lists)[1]]
    assert table.pairs == [
        ("refcoco.unc.1", right[0]),
        ("refcoco.unc.2", right[2]),
        ("refcoco.unc.3", right[3]),
        ("refcoco.unc.4", right[1]),
    ]
    assert table.left_only == ["refcoco.unc.5"]
    assert table.right_only == [right[4]]
    lines = [
        json.loads(line)
        for line in write_join_table(tmp_path / "join.jsonl", refer, lists, table).read_text().splitlines()
    ]
    assert lines[0]["pairs"] == 4
    assert lines[0]["left"]["digest"] == read_records(refer)[0].digest
    assert lines[1] == {"left": "refcoco.unc.1", "right": right[0]}
    assert {"left": None, "right": right[4]} in lines


@pytest.mark.shared
def test_a_real_split_survives_both_roads_and_joins_completely(shared, tmp_path):
    import gzip

    source = shared / "data" / "refcoco_full_eval" / "refcoco_testA.jsonl.gz"
    entries = [json.loads(line) for line in gzip.decompress(source.read_bytes()).splitlines()][:600]
    writer = ReferWriter()
    for entry in entries:
        writer.add(entry)
    writer.write(tmp_path / "refcoco", "unc", python2=False)
    refer = import_source("refer", tmp_path / "refcoco", tmp_path / "refer")[0]
    rows = [
        (entry["image"], {"height": entry["height"], "width": entry["width"]}, entry["bbox"], clean(text), [])
        for entry in reversed(entries)
        for text in entry["expressions"]
    ]
    lists = import_source("transvg", save(tmp_path / "unc_testA.pth", rows), tmp_path / "lists", kind="hivg")[
        0
    ]
    table = join_records(refer, lists)
    assert len(table.pairs) == len(rows)
    assert not table.left_only and not table.right_only
    texts = {record.id: record.text for path in (refer, lists) for record in read_records(path)[1]}
    assert all(texts[one] == texts[other] for one, other in table.pairs)
