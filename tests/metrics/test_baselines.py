"""Trivial predictors: what they answer, and that they need what they say."""

from __future__ import annotations

import numpy as np
import pytest

from refkit.data.records import ImageRef, Record, Target
from refkit.metrics.baselines import (
    BASELINES,
    BaselineError,
    baseline_predictions,
    centre_box,
    largest_object,
    random_object,
    usable_baselines,
)

OBJECTS = [[0, 0, 10, 10], [20, 20, 60, 50], [70, 10, 90, 40]]


def record(identity="a", objects=OBJECTS):
    facts = {"kind": "attribute"} | ({"objects": objects} if objects else {})
    return Record(identity, ImageRef("a.png", 100, 60), "it", [Target(box=(0, 0, 10, 10))], facts=facts)


def test_largest_object():
    assert largest_object(record()).tolist() == OBJECTS[1]


def test_centre_box():
    assert centre_box(record()).tolist() == [25, 15, 75, 45]


def test_random_object_depends_on_seed_and_id_alone():
    records = [record(f"r{index}") for index in range(300)]
    first = {p.id: tuple(p.boxes[0]) for p in baseline_predictions("random object", records, seed=3)}
    again = {p.id: tuple(p.boxes[0]) for p in baseline_predictions("random object", records[::-1], seed=3)}
    assert first == again
    other = [tuple(random_object(one, seed=4)) for one in records]
    assert other != list(first.values())
    drawn = [list(first.values()).count(tuple(box)) for box in OBJECTS]
    assert sum(drawn) == 300
    assert min(drawn) > 70


def test_each_baseline_answers_every_record_with_one_box():
    records = [record("a"), record("b")]
    for name in BASELINES:
        predictions = list(baseline_predictions(name, records))
        assert [prediction.id for prediction in predictions] == ["a", "b"]
        assert all(prediction.boxes.shape == (1, 4) for prediction in predictions)
        assert predictions[0].boxes.dtype == np.float64


def test_records_without_the_objects_of_their_scene():
    bare = record(objects=None)
    assert usable_baselines(bare) == ["centre box"]
    assert usable_baselines(record()) == list(BASELINES)
    with pytest.raises(
        BaselineError, match=r"'a' does not list the objects .* only the baseline 'centre box'"
    ):
        list(baseline_predictions("largest object", [bare]))
    with pytest.raises(BaselineError, match="no baseline 'best object'; there are 'random object'"):
        list(baseline_predictions("best object", [bare]))
