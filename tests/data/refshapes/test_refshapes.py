"""RefShapes: every expression means one object, everything follows from (seed, index), records equal samples."""

from __future__ import annotations

import re

import numpy as np
import pytest
from refshapes_listener import fitting, meant

from refkit.data.digest import digest
from refkit.data.records import read_records
from refkit.data.refshapes import KINDS, imagine, iter_records, vocabulary
from refkit.data.refshapes.dataset import RefShapesDataset, RefShapesRegions
from refkit.data.refshapes.scene import MAX_OBJECTS, MIN_OBJECTS
from refkit.data.sources import import_source
from refkit.rle import decode

SCENES = 150


@pytest.fixture(scope="module")
def situations():
    return [imagine(3, index, 64) for index in range(SCENES)]


def things(situation):
    def centre(item):
        low = [max(value - item.radius, 0) for value in (item.x, item.y)]
        high = [min(value + item.radius, 1) for value in (item.x, item.y)]
        return [(a + b) / 2 for a, b in zip(low, high, strict=True)]

    return [
        {
            "shape": item.shape,
            "colour": item.colour,
            "fill": item.fill,
            "size": item.size,
            "radius": item.radius,
            "centre": centre(item),
        }
        for item in situation.items
    ]


@pytest.mark.parametrize("position", range(len(KINDS)), ids=KINDS)
def test_an_independent_listener_finds_exactly_the_meant_object(situations, position):
    for situation in situations:
        expression = situation.expressions[position]
        assert expression.kind == KINDS[position]
        assert meant(expression.text, things(situation)) == [expression.target], expression


def test_every_expression_has_a_distractor_with_its_head_noun(situations):
    for situation in situations:
        for expression in situation.expressions:
            noun = situation.items[expression.target].shape
            assert noun in expression.text
            assert len(fitting(noun, things(situation))) >= 2


def test_scenes_hold_three_to_eight_visible_objects(situations):
    counts = {len(situation.items) for situation in situations}
    assert counts == set(range(MIN_OBJECTS, MAX_OBJECTS + 1))
    for situation in situations:
        for index, box in enumerate(situation.drawing.boxes):
            rows, columns = np.nonzero(situation.drawing.mask(index))
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_some_objects_are_occluded_and_some_truncated(situations):
    items = [item for situation in situations for item in situation.items]
    truncated = [i for i in items if min(i.x, i.y, 1 - i.x, 1 - i.y) < i.radius]
    occluded = [i for i in items if i.hidden > 1e-6 and i not in truncated]
    assert len(truncated) > 0.04 * len(items)
    assert len(occluded) > 0.04 * len(items)


def test_a_scene_depends_on_seed_and_index_only():
    again = imagine(5, 7, 48)
    assert np.array_equal(imagine(5, 7, 48).drawing.image, again.drawing.image)
    assert imagine(5, 7, 96).expressions == again.expressions
    assert imagine(5, 8, 48).expressions != again.expressions
    assert imagine(6, 7, 48).expressions != again.expressions


def test_the_vocabulary_holds_every_word_that_is_said(situations):
    known = set(re.findall(r"\w+", " ".join(vocabulary())))
    said = {
        word
        for situation in situations
        for text in (*(e.text for e in situation.expressions), *(i.located_caption for i in situation.items))
        for word in text.split()
    }
    assert said <= known
    assert len(known - said) <= 2, known - said


def test_imported_records_equal_the_samples_of_the_data_set(tmp_path):
    (path,) = import_source(
        "refshapes", (), tmp_path, seed=4, scenes=6, size=64, split="val", images=tmp_path / "images"
    )
    header, records = read_records(path)
    dataset = RefShapesDataset(6, scene_seed=4, size=64, with_masks=True)
    assert header.name == "refshapes.seed4.val"
    assert (header.digest, header.digest_masks) == dataset.digests
    assert header.digest == digest(iter_records(4, 0, 6, 64))
    assert records == [dataset.record(index) for index in range(len(dataset))]
    assert len(list((tmp_path / "images").iterdir())) == 6
    for record, sample in zip(records, dataset, strict=True):
        assert (record.id, record.text) == (sample.id, sample.text)
        assert np.allclose(record.targets[0].box, sample.boxes[0])
        assert np.array_equal(decode(record.targets[0].mask), sample.masks[0])


def test_records_carry_what_breakdowns_and_baselines_need():
    record = next(iter_records(0, 0, 1, 64))
    assert record.facts["kind"] == "attribute"
    assert list(record.targets[0].box) in record.facts["objects"]
    colour = record.references[0].split()[-2]
    assert record.labels[f"colour:{colour}"] == 1
    assert sum(value for name, value in record.labels.items() if name.startswith("colour")) == 1


def test_regions_pair_every_box_with_its_caption():
    dataset = RefShapesRegions(3, scene_seed=2, size=64)
    sample = dataset[1]
    items = dataset.situation(1).items
    assert sample.boxes.shape == (len(items), 4)
    for place, (caption, item) in enumerate(zip(sample.meta["captions"], items, strict=True)):
        assert caption == (item.located_caption if place % 2 else item.caption)
    assert " and " in sample.text


@pytest.mark.parametrize("wrong", [{"scenes": 0}, {"scenes": 1, "min_objects": 2}, {"scenes": 1, "size": 4}])
def test_impossible_sets_are_refused(wrong):
    with pytest.raises(ValueError, match="RefShapes: expected"):
        RefShapesDataset(**wrong)


def test_drawing_ahead_draws_once_and_changes_nothing(monkeypatch):
    from refkit.data.refshapes import dataset

    drawn = []
    monkeypatch.setattr(dataset, "imagine", lambda *scene: drawn.append(scene) or imagine(*scene))
    ahead = RefShapesDataset(4, keep=4, draw_ahead=True, size=48)
    assert len(drawn) == 4
    lazy = RefShapesDataset(4, size=48)
    assert all(np.array_equal(ahead[index].image, lazy[index].image) for index in (0, 7, 19))
    assert len(drawn) == 4 + 3


def test_fewer_objects_on_smaller_pictures():
    small = RefShapesRegions(12, size=60, min_objects=3, max_objects=4)
    assert {len(small.situation(scene).items) for scene in range(12)} == {3, 4}
    assert small[0].image.shape == (60, 60, 3)
    with pytest.raises(ValueError, match="3 <= min_objects <= max_objects <= 8, got 5 and 4"):
        RefShapesRegions(12, min_objects=5, max_objects=4)
