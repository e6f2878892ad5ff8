"""The sources without pickles: ReferItGame's JSON, COCO-style JSON, plain JSON Lines, and the drawn set."""

from __future__ import annotations

import gzip
import json

import pytest

from refkit import rle
from refkit.data.names import KNOWN_COUNTS
from refkit.data.records import read_header, read_records
from refkit.data.sources import SourceError, import_source

LINE = {
    "image": "images/9.jpg",
    "width": 100,
    "height": 80,
    "dataset": "refcoco+",
    "split_by": "unc",
    "split": "val",
    "image_id": 9,
    "ref_id": 5,
    "ann_id": 50,
    "sent_ids": [1, 2],
    "category": "dog",
    "expressions": ["the dog", "left"],
    "bbox": [10, 20, 30, 40],
    "segmentation": [[10, 20, 40, 20, 40, 60, 10, 60]],
    "image_source": "original",
}


def write_lines(path, *lines):
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return path


def referit_folder(path, queries=None, boxes=None, sizes=None):
    path.mkdir(exist_ok=True)
    contents = {
        "referit_query_val.json": queries or {"25_2": ["sky"], "25_1": ["left", "left"], "3_1": ["grass"]},
        "referit_bbox.json": boxes or {"25_1": [0, 0, 9, 19], "25_2": [5, 6, 479, 359], "3_1": [1, 1, 3, 3]},
        "referit_imsize.json": sizes or {"25.jpg": [480, 360], "3.jpg": [480, 360]},
    }
    for name, value in contents.items():
        (path / name).write_text(json.dumps(value))
    return path


def test_referit_boxes_are_inclusive_pixels(tmp_path):
    folder = referit_folder(tmp_path / "referit")
    (folder / "referit_query_all.json").write_text("{}")
    files = import_source("referit", folder, tmp_path / "out")
    header, records = read_records(files[0])
    assert [path.name for path in files] == ["referit.berkeley.val.jsonl"]
    assert set(header.source) == {"referit_query_val.json", "referit_bbox.json", "referit_imsize.json"}
    assert [record.text for record in records] == ["grass", "left", "left", "sky"]
    assert [record.targets[0].box for record in records[1:]] == [(0, 0, 10, 20)] * 2 + [(5, 6, 480, 360)]
    assert records[1].object == "referit.berkeley.25_1"
    assert records[2].id == records[1].id + "-2"
    plain = import_source("referit", folder, tmp_path / "plain", inclusive="false")
    assert read_records(plain[0])[1][1].targets[0].box == (0, 0, 9, 19)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (
            {"boxes": {"25_1": [0, 0, 9, 19], "25_2": [5, 6, 7, 8]}},
            "region 3_1: its box or image size is missing",
        ),
        ({"sizes": {"25.jpg": [480, 360]}}, "region 3_1: its box or image size is missing"),
        (
            {"boxes": {"25_1": [9, 0, 2, 19], "25_2": [5, 6, 7, 8], "3_1": [1, 1, 3, 3]}},
            "region 25_1: the box has no area",
        ),
        ({"queries": {"25_1": [""], "3_1": ["grass"]}}, "region 25_1: the text is empty"),
    ],
)
def test_broken_referit_regions_are_named(tmp_path, broken, reason):
    folder = referit_folder(tmp_path / "referit", **broken)
    with pytest.raises(SourceError, match=reason):
        import_source("referit", folder, tmp_path / "out")
    header = read_header(import_source("referit", folder, tmp_path / "out", skip_invalid=True)[0])
    assert sum(header.extra["skipped_invalid"].values()) == 1


def test_referit_splits_and_files_are_checked(tmp_path):
    folder = referit_folder(tmp_path / "referit")
    with pytest.raises(SourceError, match="no split 'test'; it has val"):
        import_source("referit", folder, tmp_path / "out", splits="test")
    (folder / "referit_query_val.json").write_text("[]")
    with pytest.raises(SourceError, match="expected a JSON dict, found list"):
        import_source("referit", folder, tmp_path / "out")
    (folder / "referit_query_val.json").unlink()
    with pytest.raises(SourceError, match="has no referit_query"):
        import_source("referit", folder, tmp_path / "out")


@pytest.mark.shared
def test_both_roads_to_real_referit_agree(shared, tmp_path):
    source = shared / "data" / "referit_full" / "referit_val.jsonl.gz"
    lines = [json.loads(line) for line in gzip.decompress(source.read_bytes()).splitlines()]
    boxes = {}
    for line in lines:
        x, y, width, height = line["bbox"]
        boxes[line["region_id"]] = [x, y, x + width - 1, y + height - 1]
    folder = referit_folder(
        tmp_path / "referit",
        {line["region_id"]: line["expressions"] for line in lines},
        boxes,
        {line["image"]: [line["width"], line["height"]] for line in lines},
    )
    from_json = read_records(import_source("referit", folder, tmp_path / "json")[0])
    from_lines = read_records(import_source("jsonl", source, tmp_path / "lines")[0])
    known = KNOWN_COUNTS["referit.berkeley.val"]
    assert (from_json[0].records, from_json[0].images) == (known.expressions, known.images)
    assert from_json[0].digest == from_lines[0].digest


def test_json_lines_keep_ids_masks_and_unknown_fields(tmp_path):
    path = write_lines(tmp_path / "records.jsonl", LINE)
    written = import_source("jsonl", path, tmp_path / "out")
    header, records = read_records(written[0])
    assert header.name == "refcocoplus.unc.val"
    assert [record.id for record in records] == ["refcocoplus.unc.1", "refcocoplus.unc.2"]
    target = records[0].targets[0]
    assert (target.box, target.id, target.category) == ((10, 20, 40, 60), 50, "dog")
    assert rle.area(target.mask) == 30 * 40
    assert records[0].object == "refcocoplus.unc.5"
    assert records[0].extra == {"image_source": "original"}


def test_json_lines_of_several_sets_make_several_files_or_one(tmp_path):
    other = {
        **LINE,
        "dataset": "visual_genome",
        "split_by": None,
        "split": None,
        "sent_ids": None,
        "expressions": ["a"],
        "region_id": 77,
    }
    nothing = {**LINE, "dataset": "mine", "no_target": True, "bbox": None, "sent_ids": None}
    path = write_lines(tmp_path / "records.jsonl", LINE, other, nothing)
    files = import_source("jsonl", path, tmp_path / "out")
    assert [file.name for file in files] == [
        "mine.unc.val.jsonl",
        "refcocoplus.unc.val.jsonl",
        "vg.1_2.all.jsonl",
    ]
    assert read_records(files[0])[1][0].targets == []
    assert read_records(files[2])[1][0].id == "vg.1_2.77"
    one = import_source(
        "jsonl", path, tmp_path / "all.jsonl.gz", name="mine.own.train", image_root="pictures"
    )
    header, records = read_records(one[0])
    assert (header.name, header.image_root, len(records)) == ("mine.own.train", "pictures", 5)
    with pytest.raises(SourceError, match="is one file, but there are 3 sets"):
        import_source("jsonl", path, tmp_path / "all.jsonl")
    with pytest.raises(SourceError, match="no lines of split test"):
        import_source("jsonl", path, tmp_path / "out", splits=["test"])


def test_json_lines_with_several_boxes(tmp_path):
    line = {**LINE, "segmentation": None, "bboxes": [[10, 20, 5, 5], [30, 40, 10, 10]]}
    path = write_lines(tmp_path / "records.jsonl", line)
    several = read_records(import_source("jsonl", path, tmp_path / "any")[0])[1][0]
    assert [(target.box, target.any) for target in several.targets] == [
        ((10, 20, 15, 25), True),
        ((30, 40, 40, 50), True),
    ]
    merged = read_records(import_source("jsonl", path, tmp_path / "merged", boxes="merged")[0])[1][0]
    assert [target.box for target in merged.targets] == [(10, 20, 40, 50)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bbox": [10, 20, 300, 40]}, "the box leaves its image"),
        ({"bbox": None}, "the box does not hold four numbers"),
        ({"bboxes": []}, "there is no box, and no_target is not set"),
        ({"no_target": True}, "no_target is set, but there is a box"),
        ({"sent_ids": [1]}, "2 expressions have 1 sent_ids"),
        ({"expressions": ["dog", " "]}, "expression 1: the text is empty"),
        ({"width": None}, "width: expected a number of pixels .found null"),
        ({"image": 9}, "image: expected the path of a picture .found the number 9"),
        ({"expressions": "star"}, "expressions: found a text, expected a list .'star'"),
        ({"expressions": None}, "expressions: found null, expected a list"),
        ({"sent_ids": "12"}, "sent_ids: found a text, expected a list"),
        ({"bboxes": {"a": 1}}, "bboxes: found an object with 'a', expected a list"),
    ],
)
def test_broken_lines_are_named(tmp_path, change, reason):
    path = write_lines(tmp_path / "records.jsonl", {**LINE, **change}, {**LINE, "sent_ids": [3, 4]})
    with pytest.raises(SourceError, match=reason) as caught:
        import_source("jsonl", path, tmp_path / "out")
    assert f"{path}: line 1" in str(caught.value)
    header = read_header(import_source("jsonl", path, tmp_path / "out", skip_invalid=True)[0])
    assert sum(header.extra["skipped_invalid"].values()) == 1


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("category", "catgory", "catgory: unknown field, did you mean 'category'?"),
        ("bbox", "bbx", "bbx: unknown field, did you mean 'bbox'?"),
        ("sent_ids", "sent_id", "sent_id: unknown field, did you mean 'sent_ids'?"),
        ("bbox", "place", "the field 'bbox' is missing (there are image, width, height, dataset, "),
        ("expressions", "Expr", "the field 'expressions' is missing (there are image,"),
        ("width", "image_width", "the field 'width' is missing (there are image, height,"),
    ],
)
def test_misspelt_and_missing_fields_of_lines_are_named(tmp_path, old, new, reason):
    line = {key: value for key, value in LINE.items() if key != old} | {new: LINE[old]}
    path = write_lines(tmp_path / "records.jsonl", line, {**LINE, "sent_ids": [3, 4]})
    with pytest.raises(SourceError) as caught:
        import_source("jsonl", path, tmp_path / "out")
    assert f"{path}: line 1: {reason}" in str(caught.value)
    header = read_header(import_source("jsonl", path, tmp_path / "out", skip_invalid=True)[0])
    assert (header.records, sum(header.extra["skipped_invalid"].values())) == (2, 1)


def test_fields_of_other_layouts_are_no_misspelt_ones(tmp_path):
    line = {key: value for key, value in LINE.items() if key not in ("category", "ann_id")}
    own = {"category_id": 1, "ann_ids": [3], "photographer": "me"}
    path = write_lines(tmp_path / "records.jsonl", {**line, **own}, {**LINE, "sent_ids": [3, 4], "bbx": 5})
    _, records = read_records(import_source("jsonl", path, tmp_path / "out")[0])
    assert records[0].extra == {"image_source": "original", **own}
    assert records[2].extra == {"image_source": "original", "bbx": 5}


def test_lines_without_expressions_are_counted(tmp_path):
    path = write_lines(tmp_path / "records.jsonl", LINE, {**LINE, "sent_ids": [], "expressions": []})
    header = read_header(import_source("jsonl", path, tmp_path / "out")[0])
    assert (header.records, header.extra["left_out"]) == (2, {"line without expressions": 1})


def test_where_every_line_is_invalid_nothing_is_written(tmp_path, caplog):
    bad = {**LINE, "split": "train", "bbox": [0, 0, 0, 0]}
    star = {**LINE, "split": "train", "expressions": "star"}
    path = write_lines(tmp_path / "records.jsonl", bad, star)
    with pytest.raises(SourceError) as caught:
        import_source("jsonl", path, tmp_path / "out", skip_invalid=True)
    assert str(caught.value).startswith(f"{path}: nothing is usable, so nothing was written.")
    assert "1 x the box has no area" in str(caught.value)
    assert "1 x expressions: found a text, expected a list" in str(caught.value)
    assert not list((tmp_path / "out").glob("*"))
    assert not caplog.text
    path = write_lines(tmp_path / "records.jsonl", bad, LINE)
    files = import_source("jsonl", path, tmp_path / "out", skip_invalid=True)
    assert [file.name for file in files] == ["refcocoplus.unc.val.jsonl"]
    assert list((tmp_path / "out").glob("*")) == files
    assert "refcocoplus.unc.train.jsonl: not written, nothing of it is usable" in caplog.text


def test_rows_without_a_set_are_named_own_and_keep_their_ids_under_a_name(tmp_path):
    path = write_lines(
        tmp_path / "records.jsonl",
        {"image": "9.jpg", "width": 100, "height": 80, "expressions": ["dog"], "bbox": [10, 20, 30, 40]},
    )
    plain = import_source("jsonl", path, tmp_path / "out")
    named = import_source("jsonl", path, tmp_path / "out", name="mine.own.train")
    assert [file.name for file in plain + named] == ["own.all.all.jsonl", "mine.own.train.jsonl"]
    ids = [read_records(file)[1][0].id for file in plain + named]
    assert ids[0].startswith("own.all.x")
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{\n", ":1: this is not JSON"), ("[]", ":1: expected an object"), ("", "has no lines")],
)
def test_files_that_are_no_json_lines_are_refused(tmp_path, text, reason):
    path = tmp_path / "records.jsonl"
    path.write_text(text)
    with pytest.raises(SourceError, match=reason):
        import_source("jsonl", path, tmp_path / "out")
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SourceError, match="cannot be read as UTF-8"):
        import_source("jsonl", path, tmp_path / "out")


def coco_file(path, **change):
    annotation = {
        "id": 3,
        "image_id": 9,
        "category_id": 1,
        "bbox": [10, 20, 30, 40],
        "iscrowd": 0,
        "caption": "a dog",
        **change,
    }
    crowd = {**annotation, "id": 4, "iscrowd": 1}
    silent = {"id": 5, "image_id": 9, "category_id": 1, "bbox": [10, 20, 30, 40]}
    data = {
        "images": [{"id": 9, "file_name": "9.jpg", "width": 100, "height": 80}],
        "annotations": [annotation, crowd, silent],
        "categories": [{"id": 1, "name": "dog"}],
    }
    path.write_text(json.dumps(data))
    return path


def test_coco_annotations_become_expressions_captions_or_categories(tmp_path):
    path = coco_file(tmp_path / "coco.json", caption=["a dog", "my dog"])

    def run(task, **options):
        out = import_source(
            "coco", path, tmp_path / f"{task}.jsonl", name="mine.coco.val", task=task, **options
        )
        return read_records(out[0])

    header, records = run("rec")
    assert [(record.id, record.text) for record in records] == [
        ("mine.coco.3.0", "a dog"),
        ("mine.coco.3.1", "my dog"),
    ]
    assert header.extra["left_out"] == {"crowd region": 1, "annotation without 'caption'": 1}
    _, captions = run("caption")
    assert [(record.id, record.text, record.references) for record in captions] == [
        ("mine.coco.3", None, ["a dog", "my dog"])
    ]
    _, kinds = run("recognition", crowd=True)
    assert [(record.id, record.targets[0].category) for record in kinds] == [
        (f"mine.coco.{n}", "dog") for n in (3, 4, 5)
    ]


def test_coco_captions_without_boxes_are_of_the_whole_picture(tmp_path):
    path = tmp_path / "captions.json"
    annotations = [
        {"id": number, "image_id": 9, "caption": text} for number, text in enumerate(("a dog", "a cat"))
    ]
    path.write_text(
        json.dumps(
            {
                "images": [{"id": 9, "file_name": "9.jpg", "width": 100, "height": 80}],
                "annotations": annotations,
            }
        )
    )
    out = import_source("coco", path, tmp_path / "out", name="coco.captions.val2017", task="caption")
    _, records = read_records(out[0])
    assert len(records) == 1
    assert records[0].references == ["a dog", "a cat"]
    assert records[0].targets[0].box == (0, 0, 100, 80)
    annotations[0]["image_id"] = 10
    path.write_text(
        json.dumps(
            {
                "images": [{"id": 9, "file_name": "9.jpg", "width": 100, "height": 80}],
                "annotations": annotations,
            }
        )
    )
    with pytest.raises(SourceError, match="annotation 0: its image is not in the file's list"):
        import_source("coco", path, tmp_path / "out", name="coco.captions.val2017", task="caption")


@pytest.mark.parametrize(
    ("change", "task", "reason"),
    [
        ({"image_id": 10}, "rec", "annotation 3: its image is not in the file's list"),
        ({"bbox": [1, 2, 3]}, "rec", "annotation 3: the box does not hold four"),
        ({"bbox": [1, 2, 300, 1]}, "rec", "annotation 3: the box leaves its image"),
        ({"caption": [5]}, "rec", "annotation 3: the field 'caption' holds something other than text"),
        ({"category_id": 8}, "recognition", "annotation 3: its category_id is not in the file's list"),
        ({"category_id": 8}, "rec", "annotation 3: its category_id is not .* .category_id 8"),
        ({"category_id": 8}, "caption", "annotation 3: its category_id is not in the file's list"),
        ({"category_id": None}, "recognition", "annotation 3: the annotation has no category"),
    ],
)
def test_broken_coco_annotations_are_named(tmp_path, change, task, reason):
    path = coco_file(tmp_path / "coco.json", **change)
    data = json.loads(path.read_text())
    data["annotations"].append({**data["annotations"][2], "id": 6, "caption": "a cat"})
    path.write_text(json.dumps(data))
    with pytest.raises(SourceError, match=reason):
        import_source("coco", path, tmp_path / "out", name="mine.coco.val", task=task)
    out = import_source("coco", path, tmp_path / "out", name="mine.coco.val", task=task, skip_invalid=True)
    assert sum(read_header(out[0]).extra["skipped_invalid"].values()) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data["annotations"][1].update(id=3), "annotations: the id 3 stands twice, at "),
        (
            lambda data: data["images"].append({**data["images"][0], "file_name": "8.jpg"}),
            "images: the id 9 stands twice, at images[0] and images[1]",
        ),
        (
            lambda data: data["categories"].append({"id": 1, "name": "cat"}),
            "categories: the id 1 stands twice, at categories[0] and categories[1]",
        ),
        (
            lambda data: data.update(imgs=data.pop("images")),
            "not COCO's layout: there is no list 'images' (is it 'imgs'? there are annotations, categories, imgs)",
        ),
        (
            lambda data: data["images"][0].pop("width"),
            "not COCO's layout: images[0]: the field 'width' is missing (there are id, file_name, height)",
        ),
        (
            lambda data: data["annotations"].append(5),
            "annotations[3]: found the number 5, expected an object",
        ),
        (lambda data: data["annotations"][0].pop("bbox"), "annotation 3: the field 'bbox' is missing"),
    ],
)
def test_coco_files_that_would_lose_something_are_refused(tmp_path, change, reason):
    path = coco_file(tmp_path / "coco.json")
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(SourceError) as caught:
        import_source("coco", path, tmp_path / "out", name="mine.coco.val")
    assert f"{path}: " in str(caught.value)
    assert reason in str(caught.value)


def test_coco_files_may_name_a_picture_twice_and_have_no_categories(tmp_path):
    path = coco_file(tmp_path / "coco.json")
    data = json.loads(path.read_text())
    data["images"] *= 2
    del data["categories"]
    path.write_text(json.dumps(data))
    _, records = read_records(import_source("coco", path, tmp_path / "out", name="mine.coco.val")[0])
    assert [(record.text, record.targets[0].category) for record in records] == [("a dog", None)]


def test_refshapes_wants_numbers_and_no_path(tmp_path):
    with pytest.raises(SourceError, match="drawn, not read"):
        import_source("refshapes", tmp_path, tmp_path / "out")
    with pytest.raises(SourceError, match="expected scenes > 0"):
        import_source("refshapes", [], tmp_path / "out", scenes=0)
