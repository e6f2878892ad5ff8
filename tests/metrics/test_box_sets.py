"""GREC and phrase grounding against their reference values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from metric_fixtures import fixture, grec_pairs, phrase_pairs, values

from refkit.data.records import ImageRef, Record, Target
from refkit.metrics.breakdown import Groups, group_columns, group_label
from refkit.metrics.grec import VARIANTS, f1_score, greedy_matches
from refkit.metrics.phrase import enclosing
from refkit.metrics.protocol import ProtocolError
from refkit.structures import Prediction

BOX = (0.0, 0.0, 10.0, 10.0)


def record(*boxes):
    return Record("a", ImageRef("a.jpg", 100, 100), "it", [Target(box=box) for box in boxes])


@pytest.mark.parametrize("name", ["giou", "iou"])
def test_grec_equals_the_reference(name):
    reference = fixture("grec_boxes")
    found, _ = values(f"grec/{name}", grec_pairs(reference.samples))
    for key, value in reference.expected[name].items():
        assert found[key] == pytest.approx(value, abs=reference.tolerance), key


def test_a_set_without_a_threshold_counts_every_box():
    reference = fixture("grec_boxes")
    pairs = [(one, replace(answer, scores=None)) for one, answer in grec_pairs(reference.samples)]
    assert values("grec/1", pairs)[0] == values("grec/iou", pairs)[0]
    scored = list(grec_pairs(reference.samples))
    assert values("grec/1", scored)[0] == values("grec/1", pairs)[0]
    kept = [
        (one, replace(answer, boxes=answer.boxes[answer.scores >= 0.7], scores=None))
        for one, answer in scored
    ]
    assert values("grec/1", kept)[0] == values("grec/iou", scored)[0]


@pytest.mark.parametrize("protocol", [variant.id for variant in VARIANTS])
def test_no_answer_is_no_rejection(protocol):
    unusable = (None, Prediction("a"), Prediction("a", boxes=np.zeros((0, 4)), status="unparsable"))
    for answer in unusable:
        found, evaluation = values(protocol, [(record(), answer), (record(BOX), answer)])
        assert set(found.values()) == {0.0}
        assert evaluation.invalid.tolist() == [answer is not None] * 2
    for answer in (Prediction("a", boxes=np.zeros((0, 4))), Prediction("a", no_target=True)):
        found, evaluation = values(protocol, [(record(), answer), (record(BOX), answer)])
        assert found == {"f1_exact": 0.5, "f1_exact_target": 0.0, "n_acc": 1.0, "t_acc": 0.0}
        assert not evaluation.invalid.any()


def test_a_broken_box_is_a_box_that_matches_nothing():
    broken = Prediction("a", boxes=np.array([BOX, (10.0, 0.0, 0.0, 10.0)]))
    found, evaluation = values("grec/1", [(record(BOX), broken), (record(), broken)])
    assert found["f1_exact"] == 0.0
    assert found["n_acc"] == 0.0
    assert evaluation.per_sample["f1"].tolist() == [pytest.approx(2 / 3), 0.0]


@pytest.mark.parametrize("protocol", ["grec/1", "phrase/any"])
def test_targets_without_a_box_are_refused(protocol):
    for broken in (record(None), record((5.0, 0.0, 0.0, 5.0))):
        with pytest.raises(ProtocolError, match="record 'a' has a target without a usable box"):
            values(protocol, [(broken, None)])
    if protocol == "phrase/any":
        with pytest.raises(ProtocolError, match="record 'a' has no box"):
            values(protocol, [(record(), None)])


@given(arrays(np.float64, st.tuples(st.integers(0, 4), st.integers(0, 4)), elements=st.floats(0, 1)))
def test_matching_takes_every_box_once(overlaps):
    taken = greedy_matches(overlaps)
    assert taken <= min(overlaps.shape)
    assert (taken == 0) == (not (overlaps >= 0.5).any())
    assert taken == greedy_matches(overlaps.T)


def test_f1():
    matched, predicted, annotated = np.array([1, 1, 0, 2]), np.array([1, 2, 0, 2]), np.array([1, 1, 0, 4])
    assert f1_score(matched, predicted, annotated) == pytest.approx([1.0, 2 / 3, 1.0, 2 / 3])


@pytest.mark.parametrize(("protocol", "name"), [("phrase/any", "any-box"), ("phrase/merged", "merged-box")])
def test_phrases_equal_the_reference(protocol, name):
    reference = fixture("phrase_boxes")
    pairs = list(phrase_pairs(reference))
    found, evaluation = values(protocol, pairs)
    types = Groups()
    for one, _ in pairs:
        types.add(group_label(one, "type"))
    cells = {label: part for label, _, part in group_columns(evaluation.columns, types)}
    for rank, expected in reference.expected[name].items():
        key = "r_all" if rank == "all" else f"r{rank}"
        assert found[key] == pytest.approx(expected.pop("all"), abs=reference.tolerance)
        assert cells.keys() == expected.keys()
        for label, value in expected.items():
            assert cells[label][key].value == pytest.approx(value, abs=reference.tolerance), (rank, label)


def test_scores_rank_the_boxes():
    far = (50.0, 50.0, 60.0, 60.0)
    answer = Prediction("a", boxes=np.array([far, BOX]), scores=np.array([0.2, 0.9]))
    assert values("phrase/any", [(record(BOX), answer)])[0]["r1"] == 1.0
    unscored = replace(answer, scores=None)
    found, evaluation = values("phrase/any", [(record(BOX), unscored)])
    assert (found["r1"], found["r5"]) == (0.0, 1.0)
    assert evaluation.per_sample["rank"].tolist() == [2]
    found, evaluation = values("phrase/any", [(record(BOX), None), (record(BOX), Prediction("a"))])
    assert found["r_all"] == 0.0
    assert evaluation.invalid.tolist() == [False, True]


def test_the_box_around_boxes():
    assert enclosing(np.array([BOX, (5.0, -2.0, 30.0, 4.0)])).tolist() == [[0.0, -2.0, 30.0, 10.0]]
