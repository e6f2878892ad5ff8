"""Predictions in columns come back as they went in."""

import numpy as np
import pytest

from refkit.leaderboard.prediction_table import PredictionTable
from refkit.structures import Prediction

ANSWERS = [
    Prediction("one", np.array([[1.0, 2.0, 3.0, 4.5]]), np.array([0.5])),
    Prediction("two", np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, np.nan]]), np.array([0.25, 0.75])),
    Prediction("no scores", np.array([[0.0, 0.0, 1.0, 1.0]])),
    Prediction("empty", np.zeros((0, 4)), np.zeros(0)),
    Prediction("empty without scores", np.zeros((0, 4))),
    Prediction("unparsable", np.zeros((0, 4)), status="unparsable", raw="there"),
    Prediction("mask", np.array([[0.0, 0.0, 2.0, 2.0]]), mask={"size": [2, 2], "counts": "04"}),
    Prediction("caption", caption="a cup"),
]


def table_of(answers):
    table = PredictionTable()
    for answer in answers:
        table.add(answer)
    return table


def assert_equal(found, answers):
    assert list(found) == [answer.id for answer in answers]
    assert len(found) == len(answers)
    for answer in answers:
        one = found[answer.id]
        for name in ("id", "mask", "caption", "status", "raw"):
            assert getattr(one, name) == getattr(answer, name)
        for name in ("boxes", "scores"):
            ours, theirs = getattr(one, name), getattr(answer, name)
            assert (ours is None) == (theirs is None), (answer.id, name)
            assert ours is None or (
                ours.shape == theirs.shape and np.array_equal(ours, theirs, equal_nan=True)
            )


def test_every_kind_of_answer_comes_back():
    table = table_of(ANSWERS)
    assert_equal(table, ANSWERS)
    assert "one" in table and "three" not in table and table.get("three") is None
    with pytest.raises(KeyError):
        table["three"]


@pytest.mark.parametrize("cut", range(len(ANSWERS) + 1))
def test_joined_tables_are_one(cut):
    table = table_of(ANSWERS[:cut])
    table.join(table_of(ANSWERS[cut:]))
    assert_equal(table, ANSWERS)


def test_an_answer_that_was_handed_out_does_not_stop_the_table_from_growing():
    table = table_of(ANSWERS[:1])
    kept = table["one"]
    table.add(ANSWERS[1])
    assert kept.boxes.tolist() == [[1.0, 2.0, 3.0, 4.5]]
