"""Captions of drawn objects: what is said is true, and what is false is found out."""

import numpy as np
import pytest

from refkit.data.collate import collate
from refkit.data.records import read_records
from refkit.data.refshapes import imagine
from refkit.data.refshapes.dataset import RefShapesObjects
from refkit.data.refshapes.region_captions import (
    TAGS,
    check_caption,
    object_captions,
    scene_facts,
    tags_of,
)
from refkit.data.sources import import_source

SCENE = [
    {"shape": "circle", "colour": "red", "x": 0.1, "y": 0.1},
    {"shape": "circle", "colour": "blue", "x": 0.7, "y": 0.15},
    {"shape": "star", "colour": "red", "x": 0.41, "y": 0.9},
]


def test_everything_that_is_said_is_true():
    relations = 0
    for number in range(60):
        situation = imagine(3, number, 48)
        scene = scene_facts(situation)
        for index in range(len(scene)):
            captions = object_captions(situation, index)
            relations += len(captions) - 1
            assert all(check_caption(text, scene, index).all for text in captions), captions
    assert relations > 100


@pytest.mark.parametrize(
    ("text", "index", "expected"),
    [
        ("a small red circle top far left", 0, (True, True, True)),
        ("A red circle top far left.", 0, (True, True, True)),
        ("a red circle top far right", 0, (True, True, False)),
        ("a red circle bottom far left", 0, (True, True, False)),
        ("a blue circle top far left", 0, (True, False, True)),
        ("a red square top far left", 0, (False, True, True)),
        ("a red circle", 0, (True, True, False)),
        ("a red circle left of the blue circle", 0, (True, True, True)),
        ("a red circle to the left of a star", 0, (True, True, True)),
        ("a red circle right of the blue circle", 0, (True, True, False)),
        ("a red circle above the green star", 0, (True, True, False)),
        ("a red circle left of the red circle", 0, (True, True, False)),
        ("a red star bottom left", 2, (True, True, True)),  # 0.41: within the margin of left
        ("a red star bottom middle", 2, (True, True, True)),
        ("a red star below the red circle", 2, (True, True, True)),
        ("", 2, (False, False, False)),
        ("star", 2, (True, False, False)),
    ],
)
def test_captions_are_checked_by_the_meaning_of_their_words(text, index, expected):
    check = check_caption(text, SCENE, index)
    assert (check.shape, check.colour, check.place) == expected
    assert check.all == all(expected)


def test_one_sample_per_object_with_all_that_is_known():
    data = RefShapesObjects(scenes=4, scene_seed=2, size=48, max_objects=5)
    assert len(data) == 12
    samples = [data[index] for index in range(len(data))]
    assert len({sample.id for sample in samples}) == 12
    for index, sample in enumerate(samples):
        record = data.record(index)
        assert record.id == sample.id
        assert record.references == sample.meta["references"]
        assert record.text is None
        assert sample.boxes.shape == (1, 4)
        shown = sample.meta["scene"][sample.meta["object_index"]]
        assert sample.categories == [shown["shape"]] == [record.targets[0].category]
        assert set(sample.meta["tags"]) <= set(TAGS)
        assert shown["colour"] in sample.meta["tags"]
        assert sum(sample.meta["labels"].values()) == 3
    again = RefShapesObjects(scenes=4, scene_seed=2, size=48, max_objects=5)
    np.testing.assert_array_equal(again[5].image, samples[5].image)
    assert again.metainfo["task"] == ["caption", "attributes", "recognition"]
    assert again.metainfo["name"] == "refshapes.seed2-objects.0-4"
    assert again.digests == data.digests


def test_tags_name_what_goes_without_saying_only_for_size():
    item = next(i for i in imagine(1, 0, 48).items if i.fill == "solid")
    assert tags_of(item) == [item.shape, item.colour, item.size]


def test_imported_objects_equal_the_samples_of_the_data_set(tmp_path):
    options = dict(about="objects", seed=4, scenes=3, size=48, images=tmp_path / "pictures")
    [file] = import_source("refshapes", [], tmp_path / "out", **options)
    header, records = read_records(file)
    assert header.name == "refshapes.seed4-objects.val"
    assert (header.records, header.images) == (9, 3)
    data = RefShapesObjects(scenes=3, scene_seed=4, size=48)
    assert records == [data.record(index) for index in range(9)]
    assert (header.digest, header.digest_masks) == data.digests
    assert (tmp_path / "pictures" / records[0].image.file).is_file()


def test_objects_become_a_batch_to_train_on():
    pipeline = [dict(type="RegionCaption"), dict(type="RegionViews", side=32, views=2, selection="random")]
    data = RefShapesObjects(scenes=2, size=48, pipeline=pipeline)
    batch = collate([data[index] for index in range(6)], share=True)
    assert batch["inputs"]["view_index"].shape == (6, 2)
    for sample in batch["data_samples"]:
        assert sample.text in sample.meta["references"]
        assert sample.meta["control"].endswith("|")
