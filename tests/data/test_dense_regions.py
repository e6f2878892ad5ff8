"""Regions of pictures one by one, given or detected, and their answers put together again."""

import json

import numpy as np
import pytest
from PIL import Image

from refkit.data.dense_regions import DenseRegions
from refkit.data.detections import DetectionError, read_detections
from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.engine import DenseCaptionMetric
from refkit.engine.metrics import EvaluationContext, EvaluationError
from refkit.registry import DATASETS, METRICS
from refkit.structures import Prediction

BOXES = {0: [(1.0, 2.0, 30.0, 40.0), (5.0, 5.0, 20.0, 20.0)], 8: [(10.0, 10.0, 50.0, 40.0)]}


@pytest.fixture
def folder(tmp_path):
    records = []
    for number, boxes in BOXES.items():
        Image.fromarray(np.full((48, 64, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
        targets = [Target(box=box, category="thing") for box in boxes]
        captions = [f"caption {number} {place}" for place in range(len(boxes))]
        image = ImageRef(f"{number}.png", 64, 48, number)
        records.append(Record(f"vg.own.image.{number}", image, targets=targets, references=captions))
    write_records(tmp_path / "r.jsonl", Header("vg", "own", "test", task=["densecap"]), records)
    return tmp_path


def detections(folder, *rows):
    path = folder / "found.json"
    path.write_text(json.dumps([dict(zip(("image_id", "bbox", "score"), row, strict=True)) for row in rows]))
    return "found.json"


def regions(folder, **settings):
    return DATASETS.build(dict(type="DenseRegions", records="r.jsonl", data_root=folder, **settings))


def test_one_sample_per_annotated_region(folder):
    data = regions(folder)
    samples = [data[index] for index in range(len(data))]
    names = ["vg.own.image.0#0", "vg.own.image.0#1", "vg.own.image.8#0"]
    assert [sample.id for sample in samples] == names
    assert [sample.boxes.tolist() for sample in samples] == [
        [list(box)] for number in BOXES for box in BOXES[number]
    ]
    assert [sample.meta["references"] for sample in samples] == [
        ["caption 0 0"],
        ["caption 0 1"],
        ["caption 8 0"],
    ]
    assert (samples[0].image[0, 0, 0], samples[2].image[0, 0, 0]) == (0, 8)
    assert samples[0].text == ""
    assert data.metainfo["count"] == 3
    keys = data.image_keys
    assert keys[0] == keys[1] != keys[2]
    assert [data.ids(picture) for picture in range(2)] == [names[:2], names[2:]]


def test_regions_become_views(folder):
    pipeline = [dict(type="RegionViews", side=16, views=2, selection=[0, 1])]
    assert regions(folder, pipeline=pipeline)[1].extras["views"].shape == (2, 3, 16, 16)


def test_detected_regions_are_ranked_and_cut(folder):
    found = detections(folder, (0, [1, 1, 9, 9], 0.2), (0, [2, 2, 9, 9], 0.9), (0, [3, 3, 9, 9], 0.1))
    data = regions(folder, detections=found, least_score=0.15)
    assert [data[index].meta["detection_score"] for index in range(2)] == [0.9, 0.2]
    assert data[0].boxes.tolist() == [[2, 2, 11, 11]]
    assert "references" not in data[0].meta
    assert len(data) == 2
    assert len(regions(folder, detections=found, most=1)) == 1
    merged = data.merge(0, [Prediction("a", caption="x", scores=np.array([0.3])), Prediction("b")])
    assert merged.scores.tolist() == [0.9, 0.2]
    assert merged.captions == ["x", ""]
    assert data.merge(1, []).boxes.shape == (0, 4)


def test_given_regions_are_ranked_by_their_captions(folder):
    data = regions(folder)
    answers = [
        Prediction("a", status="failed", raw=""),
        Prediction("b", caption="dog", scores=np.array([0.4])),
    ]
    merged = data.merge(0, answers)
    assert merged.id == "vg.own.image.0"
    assert merged.scores.tolist() == [0.0, 0.4]
    assert merged.captions == ["", "dog"]
    np.testing.assert_array_equal(merged.boxes, BOXES[0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(5, [1, 1, 9, 9], 0.2)], "none of its image_id"),
        ([(0, [1, 1, 0, 9], 0.2)], "entry 0: .*without area"),
        ([(0, [1, 1, 9], 0.2)], "entry 0"),
        ([(0, [1, 1, 9, 9], None)], "entry 0"),
        ([(None, [1, 1, 9, 9], 0.1)], "image_id is None"),
    ],
)
def test_detections_that_cannot_be_used(folder, rows, message):
    with pytest.raises(DetectionError, match=message):
        regions(folder, detections=detections(folder, *rows))


def test_files_that_hold_no_detections(tmp_path):
    with pytest.raises(DetectionError, match="not a JSON file"):
        read_detections(tmp_path / "none.json")
    (tmp_path / "d.json").write_text("{}")
    with pytest.raises(DetectionError, match="expected a list"):
        read_detections(tmp_path / "d.json")


def test_nothing_to_describe(folder):
    found = detections(folder, (0, [1, 1, 9, 9], 0.2))
    with pytest.raises(ValueError, match="no region to describe"):
        DenseRegions("r.jsonl", found, least_score=0.5, data_root=folder)


def metric(data, tmp_path):
    made = METRICS.build(dict(type="DenseCaptionMetric", protocol="densecap/python"))
    assert isinstance(made, DenseCaptionMetric)
    made.use_context(EvaluationContext(data, str(tmp_path), "DynRefer", "float32"))
    return made


def test_answers_to_regions_are_scored_by_picture(folder, tmp_path):
    data = regions(folder)
    samples = [data[index] for index in range(3)]
    answers = [
        Prediction(s.id, boxes=s.boxes, scores=np.array([0.5]), caption=s.meta["references"][0])
        for s in samples
    ]
    made = metric(data, tmp_path)
    for _ in range(2):
        made.process({"data_samples": samples}, answers)
        found = made.evaluate(3)
        assert found["densecap/detection_map"] == pytest.approx(1.0)
    written = (tmp_path / "predictions/vg.own.test.jsonl").read_text().splitlines()
    assert len(written) == 3
    assert json.loads(written[1])["captions"] == ["caption 0 0", "caption 0 1"]


def test_missing_answers_and_other_data_sets(folder, tmp_path):
    data = regions(folder)
    made = metric(data, tmp_path)
    made.process({"data_samples": [data[0]]}, [Prediction(data[0].id, caption="x")])
    with pytest.raises(EvaluationError, match="2 not predicted"):
        made.evaluate(3)
    made = metric(data.pictures, tmp_path)
    with pytest.raises(EvaluationError, match="DenseRegions"):
        made.evaluate(0)
