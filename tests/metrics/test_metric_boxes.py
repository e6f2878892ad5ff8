"""Overlap of paired boxes: reference values, and what must hold for any boxes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refkit.metrics.boxes import as_boxes, box_area, clip_boxes, paired_giou, paired_iou, valid_boxes

coordinate = st.floats(-50, 200, allow_nan=False)
any_box = st.tuples(coordinate, coordinate, coordinate, coordinate)
box = any_box.map(lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])))


@pytest.fixture(scope="module")
def reference(repository):
    return json.loads((repository / "tests/golden/rec_boxes.json").read_text())


def columns(reference):
    samples = reference["samples"]
    gt = np.array([sample["gt_xywh"] for sample in samples])
    gt[:, 2:] += gt[:, :2]
    pred = np.array([sample["pred"] or [np.nan] * 4 for sample in samples], float)
    return pred, gt, samples


def test_iou_and_giou_equal_the_reference(reference):
    pred, gt, samples = columns(reference)
    tolerance = reference["tolerance"]
    valid = np.array([sample["valid"] for sample in samples])
    assert np.array_equal(valid_boxes(pred), valid)
    assert paired_iou(pred, gt) == pytest.approx([sample["iou"] for sample in samples], abs=tolerance)
    giou = [sample["giou"] for sample in samples if sample["valid"]]
    assert paired_giou(pred, gt)[valid] == pytest.approx(giou, abs=tolerance)


@given(a=box, b=box)
def test_overlaps_stay_in_their_range_and_are_symmetric(a, b):
    iou, giou = paired_iou([a], [b])[0], paired_giou([a], [b])[0]
    assert 0.0 <= iou <= 1.0 + 1e-12
    assert -1.0 <= giou <= iou + 1e-12
    assert paired_iou([b], [a])[0] == iou
    assert paired_giou([b], [a])[0] == pytest.approx(giou, abs=1e-12)


@given(a=box)
def test_a_box_with_area_overlaps_itself_fully(a):
    # subnormal areas lose their bits in the product
    if box_area(as_boxes([a]))[0] > 1e-12:
        assert paired_iou([a], [a])[0] == pytest.approx(1.0)
        assert paired_giou([a], [a])[0] == pytest.approx(1.0)


@given(a=any_box, width=st.integers(1, 120), height=st.integers(1, 120))
def test_clipping_stays_inside_and_happens_once(a, width, height):
    once = clip_boxes(as_boxes([a]), [[width, height]])
    assert (once >= 0).all()
    assert (once <= [[width, height, width, height]]).all()
    assert np.array_equal(clip_boxes(once, [[width, height]]), once)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ((10, 10, 5, 20), "reversed in x"),
        ((10, 10, 20, 5), "reversed in y"),
        ((np.nan, 0, 1, 1), "NaN"),
        ((0, 0, np.inf, 1), "infinite"),
    ],
)
def test_an_invalid_box_overlaps_nothing(broken, why):
    everything = [(-1e9, -1e9, 1e9, 1e9)]
    assert not valid_boxes(as_boxes([broken]))[0], why
    assert paired_iou([broken], everything)[0] == 0.0
    assert paired_giou([broken], everything)[0] == -1.0


def test_boxes_without_area():
    point, square = [(5.0, 5.0, 5.0, 5.0)], [(0.0, 0.0, 10.0, 10.0)]
    assert valid_boxes(as_boxes(point))[0]
    assert paired_iou(point, point)[0] == 0.0
    assert paired_giou(point, point)[0] == -1.0
    assert paired_iou(point, square)[0] == 0.0


def test_empty_and_wrong_shapes():
    assert as_boxes([]).shape == (0, 4)
    assert paired_iou([], []).shape == (0,)
    with pytest.raises(ValueError, match=r"\(n, 4\), not \(2, 3\)"):
        as_boxes([[1, 2, 3], [4, 5, 6]])
    with pytest.raises(ValueError, match=r"not \(4,\)"):
        as_boxes([1, 2, 3, 4])
