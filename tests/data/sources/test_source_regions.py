"""Sources of regions: Visual Genome, converted annotations, captions of objects, OVAD, MDETR's layout."""

from __future__ import annotations

import gzip
import json

import pytest

from refkit.data.records import read_records
from refkit.data.sources import SourceError, import_source

REGION = {"region_id": 1, "phrase": "A Red Bus!", "x": 0, "y": 10, "width": 60, "height": 90}


def genome(folder, *regions, key="image_id", coco=(7, None), splits=None):
    """A folder as Visual Genome publishes it: two pictures of 100 x 80 pixels, 3 in train and 4 in test."""
    folder.mkdir(exist_ok=True)
    listed = list(regions) or [REGION]
    other = dict(REGION, region_id=9, phrase="tree", x=5, y=5, width=10, height=10)
    contents = {
        "region_descriptions.json": [{key: 3, "regions": listed}, {key: 4, "regions": [other]}],
        "image_data.json": [
            {key: number, "width": 100, "height": 80, "coco_id": of}
            for number, of in zip((3, 4), coco, strict=True)
        ],
        "densecap_splits.json": splits or {"train": [3], "val": [], "test": [4]},
    }
    for name, value in contents.items():
        (folder / name).write_text(json.dumps(value))
    return folder


def imported(source, path, out, **options):
    return [read_records(file) for file in import_source(source, path, out, **options)]


def by_split(files):
    return {header.split: (header, records) for header, records in files}


@pytest.mark.parametrize(("version", "key"), [("1.0", "id"), ("1.2", "image_id")])
def test_visual_genome_is_cleaned_and_clipped(tmp_path, version, key):
    parts = by_split(imported("vg", genome(tmp_path / "vg", key=key), tmp_path / "out", version=version))
    header, records = parts["train"]
    assert header.name == f"vg.{version.replace('.', '_')}.train"
    assert (header.task, header.image_root, header.licence) == (["caption"], "vg", "CC BY 4.0")
    assert [record.references for record in records] == [["a red bus"]]
    assert records[0].targets[0].box == (1, 10, 60, 80)
    assert records[0].image.file == "3.jpg"
    assert records[0].text is None
    assert [record.references for record in parts["test"][1]] == [["tree"]]
    assert parts["val"][1] == []


def test_long_empty_and_lost_regions(tmp_path):
    regions = [
        REGION,
        dict(REGION, region_id=2, phrase="w " * 16),
        dict(REGION, region_id=3, phrase="w " * 15),
        dict(REGION, region_id=4, phrase="!!"),
        dict(REGION, region_id=5, x=100, width=3),
    ]
    splits = {"train": [3], "test": [3]}
    parts = by_split(imported("vg", genome(tmp_path / "vg", *regions, splits=splits), tmp_path / "out"))
    assert [record.targets[0].id for record in parts["train"][1]] == [1, 3, 5]
    assert parts["train"][0].extra["left_out"] == {
        "phrase of more than 15 words": 1,
        "phrase without words": 1,
    }
    assert [record.targets[0].id for record in parts["test"][1]] == [1, 3, 4, 5]
    lost = dict(REGION, y=90)
    files = imported(
        "vg", genome(tmp_path / "vg", lost, dict(lost, y=-95)), tmp_path / "out", splits=["train"]
    )
    assert files[0][0].extra["left_out"] == {"nothing is left of the box after clipping": 1}


def test_visual_genome_pictures_that_coco_has(tmp_path):
    parts = by_split(imported("vg", genome(tmp_path / "vg"), tmp_path / "out", version="coco"))
    assert parts["train"][0].name == "vg.coco.train"
    assert (len(parts["train"][1]), len(parts["test"][1])) == (1, 0)
    (tmp_path / "vg/image_data.json").unlink()
    with pytest.raises(SourceError, match=r"image_data\.json"):
        import_source("vg", tmp_path / "vg", tmp_path / "out", version="coco")


def test_dense_captions_are_one_record_per_picture(tmp_path):
    regions = [REGION, dict(REGION, region_id=2, phrase="wheel", x=10, width=20)]
    options = dict(task="densecap", splits=["train"])
    [(header, records)] = imported("vg", genome(tmp_path / "vg", *regions), tmp_path / "out", **options)
    assert header.task == ["densecap"]
    assert [record.id for record in records] == ["vg.1_2.image.3"]
    assert records[0].references == ["a red bus", "wheel"]
    assert [target.id for target in records[0].targets] == [1, 2]


def test_words_and_tags_are_stored_with_their_tagger(tmp_path):
    tags = tmp_path / "tags.txt"
    tags.write_text("Bus\nred\ntree\n")
    options = dict(tagger="rules", tag_list=tags, splits=["train"])
    [(header, records)] = imported("vg", genome(tmp_path / "vg"), tmp_path / "out", **options)
    assert header.extra["tagger"] == "rules"
    assert header.extra["tag_list"].startswith("sha256:")
    assert records[0].facts == {"phrases": [["red bus", "bus"]], "tagger": "rules", "tags": ["Bus", "red"]}
    with pytest.raises(SourceError, match="add --tagger auto"):
        import_source("vg", tmp_path / "vg", tmp_path / "out", tag_list=tags)
    with pytest.raises(SourceError, match=r"none\.txt"):
        import_source("vg", tmp_path / "vg", tmp_path / "out", tag_list=tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"phrase": 3}, {}, "a field is missing"),
        ({"x": None}, {}, "four numbers"),
        ({}, {"splits": ["minival"]}, "has no split 'minival'"),
    ],
)
def test_visual_genome_that_cannot_be_read(tmp_path, change, options, message):
    folder = genome(tmp_path / "vg", dict(REGION, **change))
    with pytest.raises(SourceError, match=message):
        import_source("vg", folder, tmp_path / "out", **options)


def test_visual_genome_files_that_are_missing(tmp_path):
    folder = genome(tmp_path / "vg")
    (folder / "densecap_splits.json").unlink()
    with pytest.raises(SourceError, match=r"densecap_splits\.json is not beside .* --name"):
        import_source("vg", folder, tmp_path / "out")
    (folder / "image_data.json").unlink()
    with pytest.raises(SourceError, match=r"picture 3 .*size is not known"):
        import_source("vg", folder, tmp_path / "out", name="vg.own.all")
    (folder / "region_descriptions.json").unlink()
    with pytest.raises(SourceError, match="holds neither"):
        import_source("vg", folder, tmp_path / "out")


@pytest.mark.shared
def test_the_original_region_graphs(shared, tmp_path):
    data = shared / "data/vg_regions"
    options = dict(name="vg.excerpt.all", sizes=data / "records.jsonl", skip_invalid=True)
    [(header, records)] = imported(
        "vg", data / "region_graphs_images_1_to_15.json.gz", tmp_path / "a.jsonl", **options
    )
    numbers = {record.image.id for record in records}
    assert numbers == {2, 6, 10}
    with gzip.open(data / "region_graphs_images_1_to_15.json.gz") as file:
        published = {
            region["region_id"]: region
            for picture in json.load(file)
            if picture["image_id"] in numbers
            for region in picture["regions"]
        }
    assert len(records) == len(published) == 769
    assert sum(header.extra["skipped_invalid"].values()) == 11
    for record in records:
        region, box = published[record.targets[0].id], record.targets[0].box
        assert record.references[0].split()[-1] in region["phrase"].lower().replace("-", "").replace("'", "")
        assert box[0] == max(1, region["x"])


def converted(path, **changes):
    annotation = {
        "id": 5,
        "image_id": 1,
        "caption": "A red BUS.",
        "bbox": [9, 9, 9, 9],
        "segmentation": [[10, 20, 10, 60.5, 40, 60.5, 40, 20]],
        "extra_info": {
            "parser_result": {"tag_set0": [], "tag_set1": [1, 0], "tag_set2": [2]},
            "coco_result": {"category": "bus", "category_id": 6},
            "ovad_result": {"att_vec": [1, 0, -1]},
        },
    } | changes
    data = {
        "dataset": {"description": "vg1.2", "image_root": "data/vg/images", "extra_info": {}},
        "images": [{"id": 1, "file_name": "1.jpg", "height": 80, "width": 100, "extra_info": {}}],
        "annotations": [annotation, dict(annotation, id=2)],
        "attrs": [
            {"id": number, "name": name, "freq_set": group}
            for number, name, group in (
                (0, "color:red", "head"),
                (1, "color:blue", "tail"),
                (2, "wet", "tail"),
            )
        ],
    }
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def tag_list(tmp_path):
    path = tmp_path / "tags.txt"
    path.write_text("bus\nred\nstreet\n")
    return path


def test_converted_annotations(tmp_path, tag_list):
    options = dict(name="vg.1_2.train", tag_list=tag_list, tagger="rules")
    [(header, records)] = imported("dynrefer", converted(tmp_path / "train.json"), tmp_path / "o", **options)
    assert header.image_root == "vg/images"
    assert [record.id for record in records] == ["vg.1_2.2", "vg.1_2.5"]
    assert records[0].targets[0].box == (10, 20, 40, 60.5)
    assert records[0].targets[0].mask is None
    assert records[0].references == ["a red bus"]
    assert records[0].facts["tags"] == ["bus", "red", "street"]
    assert records[0].facts["phrases"] == [["red bus", "bus"]]


def test_converted_annotations_for_other_tasks(tmp_path):
    path, out = (
        converted(tmp_path / "t.json", segmentation={"size": [80, 100], "counts": [810, 3, 7187]}),
        tmp_path,
    )
    [(_, records)] = imported("dynrefer", path, out / "a", name="coco.own.val", task="recognition")
    assert [record.targets[0].category for record in records] == ["bus", "bus"]
    assert records[0].targets[0].mask is not None
    assert records[0].targets[0].box == (10, 10, 10, 12)
    [(_, records)] = imported("dynrefer", path, out / "b", name="ovad.own.test", task="attributes")
    assert records[0].labels == {"color:red": 1, "color:blue": 0}
    assert records[0].facts == {"attribute_groups": {"color:red": "head"}}
    [(_, records)] = imported("dynrefer", path, out / "c", name="vg.own.test", task="densecap")
    assert len(records[0].targets) == 2


def test_scene_graphs_give_tags(tmp_path, tag_list):
    graph = {
        "entities": [
            {"head": "bus", "lemma_span": "a red bus", "modifiers": [{"dep": "amod", "span": "red"}]}
        ],
        "relations": [],
    }
    path = converted(tmp_path / "t.json", extra_info={"parser_result": {"graph": graph}})
    [(_, records)] = imported("dynrefer", path, tmp_path / "o", name="vg.1_2.train", tag_list=tag_list)
    assert records[0].facts == {"tags": ["bus", "red"]}


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"caption": None}, {}, "caption is no text"),
        ({"segmentation": []}, {}, "polygons"),
        ({"image_id": 9}, {}, "not in the file's list"),
        ({"extra_info": {"parser_result": {"tag_set1": [99]}}}, {}, "outside a list"),
        ({"extra_info": {}}, {"task": "recognition"}, "no class"),
        ({"extra_info": {}}, {"task": "attributes"}, "a field is missing"),
        ({"extra_info": {"ovad_result": {"att_vec": [1]}}}, {"task": "attributes"}, "3 values"),
        ({"extra_info": {"ovad_result": {"att_vec": [1, 2, 0]}}}, {"task": "attributes"}, "other than"),
    ],
)
def test_converted_annotations_that_cannot_be_read(tmp_path, tag_list, change, options, message):
    path = converted(tmp_path / "t.json", **change)
    with pytest.raises(SourceError, match=message):
        import_source("dynrefer", path, tmp_path / "o", name="vg.1_2.train", tag_list=tag_list, **options)


def test_expressions_of_an_object_become_its_captions(tmp_path):
    line = {
        "image": "9.jpg",
        "width": 100,
        "height": 80,
        "image_id": 9,
        "ref_id": 5,
        "bbox": [10, 20, 30, 40],
    }
    lines = [
        dict(line, sent_ids=[1, 2, 3], expressions=["the dog", "left dog", "the dog"]),
        dict(line, ref_id=6, sent_ids=[4], expressions=["cat"]),
        dict(line, ref_id=7, sent_ids=[8], expressions=["nothing"], bbox=None, no_target=True),
    ]
    (tmp_path / "l.jsonl").write_text("\n".join(map(json.dumps, lines)))
    [rec] = import_source("jsonl", tmp_path / "l.jsonl", tmp_path / "o", name="mine.own.val")
    [(header, records)] = imported("captions", rec, tmp_path / "o", tagger="rules")
    assert header.name == "mine.own-captions.val"
    assert [record.references for record in records] == [["the dog", "left dog"], ["cat"]]
    assert records[0].facts["phrases"] == [["dog"], ["left dog", "dog"]]
    assert header.extra["left_out"] == {"expression without exactly one target": 1}
    with pytest.raises(SourceError, match="expected expressions"):
        import_source("captions", tmp_path / "o/mine.own-captions.val.jsonl", tmp_path / "p")


@pytest.mark.shared
def test_the_published_attributes(shared, tmp_path):
    with gzip.open(shared / "data/assets/ovad2000.json.gz") as file:
        data = json.load(file)
    attributes, data["annotations"] = data["attributes"], data["annotations"][:1200]
    (tmp_path / "ovad2000.json").write_text(json.dumps(data))
    [(header, records)] = imported("ovad", tmp_path / "ovad2000.json", tmp_path / "o")
    assert (header.name, header.records, header.image_root) == ("ovad.box.test", 1200, "coco/val2017")
    for record, entry in zip(records, data["annotations"], strict=True):
        known = {a["name"]: v for a, v in zip(attributes, entry["att_vec"], strict=True) if v != -1}
        assert record.labels == known
        groups = {a["name"]: a["freq_set"] for a in attributes if known.get(a["name"]) == 1}
        assert record.facts["attribute_groups"] == groups
    assert records[0].targets[0].category == "chair"


def test_ovad_without_its_list(tmp_path):
    (tmp_path / "o.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(SourceError, match="no list of attributes"):
        import_source("ovad", tmp_path / "o.json", tmp_path / "o")
    (tmp_path / "o.json").write_text('{"images": [], "annotations": [], "attributes": []}')
    with pytest.raises(SourceError, match="empty or names one twice"):
        import_source("ovad", tmp_path / "o.json", tmp_path / "o")
    (tmp_path / "o.json").write_text('{"images": [], "annotations": [], "attributes": [{"id": 0}]}')
    with pytest.raises(SourceError, match="not OVAD's list"):
        import_source("ovad", tmp_path / "o.json", tmp_path / "o")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 9}, "not in the file's list"),
        ({"bbox": [0, 0, 0, 5]}, "no area"),
        ({"bbox": None}, "four numbers|field is missing"),
        ({"att_vec": [2]}, "other than"),
    ],
)
def test_ovad_entries_that_cannot_be_read(tmp_path, change, message):
    entry = {"id": 1, "image_id": 3, "bbox": [1, 1, 5, 5], "att_vec": [1], "category_id": 1} | change
    data = {
        "images": [{"id": 3, "file_name": "3.jpg", "width": 10, "height": 10}],
        "annotations": [entry],
        "attributes": [{"id": 0, "name": "wet", "freq_set": "tail"}],
    }
    (tmp_path / "o.json").write_text(json.dumps(data))
    with pytest.raises(SourceError, match=message):
        import_source("ovad", tmp_path / "o.json", tmp_path / "o")


def mdetr(path, **changes):
    entry = {"id": 0, "file_name": "COCO_train2014_000000000009.jpg", "width": 100, "height": 80}
    entry |= {"original_id": 9, "caption": "The Dog.", "dataset_name": "refcocog"} | changes
    annotation = {"id": 3, "original_id": 44, "image_id": 0, "bbox": [10, 20, 30, 40], "segmentation": []}
    path.write_text(json.dumps({"images": [entry], "annotations": [annotation]}))
    return path


def test_captions_of_picture_entries(tmp_path):
    path = mdetr(tmp_path / "finetune_refcocog_train.json")
    [(header, records)] = imported("mdetr", path, tmp_path / "a", name="refcocog.umd.train")
    assert (header.task, header.image_root) == (["rec"], "coco/train2014")
    assert records[0].text == "The Dog."
    assert records[0].image.id == 9
    assert records[0].targets[0].box == (10, 20, 40, 60)
    assert records[0].targets[0].id == 44
    options = dict(name="refcocog.umd-captions.val", task="caption", tagger="rules")
    [(_, records)] = imported("mdetr", path, tmp_path / "b", **options)
    assert (records[0].text, records[0].references) == (None, ["The Dog."])
    assert records[0].facts["phrases"] == [["dog"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"caption": " "}, "missing or empty"),
        ({"id": 5}, "no annotation belongs"),
        ({"width": None}, "a field is missing"),
    ],
)
def test_picture_entries_that_cannot_be_read(tmp_path, change, message):
    with pytest.raises(SourceError, match=message):
        import_source("mdetr", mdetr(tmp_path / "m.json", **change), tmp_path / "o", name="a.b.c")


def test_mdetr_files_of_another_layout(tmp_path):
    path = tmp_path / "m.json"
    path.write_text('{"images": []}')
    with pytest.raises(SourceError, match="not COCO's layout"):
        import_source("mdetr", path, tmp_path / "o", name="a.b.c")
    path.write_text('{"images": [], "annotations": [{}]}')
    with pytest.raises(SourceError, match="no image_id"):
        import_source("mdetr", path, tmp_path / "o", name="a.b.c")
    with pytest.raises(SourceError, match="nothing is usable, so nothing was written"):
        import_source("mdetr", path, tmp_path / "o", name="a.b.c", skip_invalid=True)
    assert not list((tmp_path / "o").glob("*"))
