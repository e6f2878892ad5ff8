"""Declared coordinate spaces: conversion to pixels, and the warning where the declaration looks wrong."""

from __future__ import annotations

import numpy as np
import pytest

from refkit.leaderboard.box_spaces import BOX_SPACES, implausible, to_pixels

PIXELS = np.array([[20.0, 30.0, 120.0, 90.0]])
SIZE = (200, 100)
SAME_BOX = {
    "xyxy-pixel": [[20, 30, 120, 90]],
    "xywh-pixel": [[20, 30, 100, 60]],
    "xyxy-unit": [[0.1, 0.3, 0.6, 0.9]],
    "xyxy-thousandths": [[100, 300, 600, 900]],
    # a square of 200 with 50 pixels above and below the image
    "xyxy-unit-padded": [[0.1, 0.4, 0.6, 0.7]],
    # a network input of 100 x 200
    "xyxy-input": [[10, 60, 60, 180]],
}


@pytest.mark.parametrize("space", BOX_SPACES)
def test_every_space_leads_to_the_same_pixels(space):
    found = to_pixels(np.array(SAME_BOX[space], float), space, SIZE, (100, 200))
    assert found == pytest.approx(PIXELS)


def test_padding_of_an_upright_image_is_left_and_right():
    assert to_pixels(np.array([[0.25, 0.0, 0.75, 1.0]]), "xyxy-unit-padded", (100, 200)) == pytest.approx(
        np.array([[0.0, 0.0, 100.0, 200.0]])
    )


def test_input_pixels_need_the_size_of_the_input():
    with pytest.raises(ValueError, match="need the size of the network input"):
        to_pixels(PIXELS, "xyxy-input", SIZE)


def real_boxes(count=200):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 0.6, (count, 2))
    unit = np.concatenate((corner, corner + rng.uniform(0.1, 0.4, (count, 2))), axis=1)
    return unit, np.tile((640.0, 480.0), (count, 1))


def in_space(unit, space):
    pixels = unit * (640, 480, 640, 480)
    if space == "xyxy-pixel":
        return pixels
    if space == "xywh-pixel":
        return np.concatenate((pixels[:, :2], pixels[:, 2:] - pixels[:, :2]), axis=1)
    return unit if space == "xyxy-unit" else unit * 1000


@pytest.mark.parametrize("space", ["xyxy-pixel", "xywh-pixel", "xyxy-unit", "xyxy-thousandths"])
def test_the_right_declaration_raises_no_doubt(space):
    unit, sizes = real_boxes()
    assert implausible(in_space(unit, space), sizes, space) is None


@pytest.mark.parametrize(
    ("really", "declared", "message"),
    [
        (
            "xyxy-unit",
            "xyxy-pixel",
            "100% of the boxes fit the unit square.*'xyxy-pixel'; are they 'xyxy-unit'",
        ),
        ("xyxy-unit", "xyxy-thousandths", "fit the unit square"),
        ("xyxy-pixel", "xyxy-unit", "lie far outside the unit square.*'xyxy-pixel' or 'xyxy-thousandths'"),
        ("xyxy-thousandths", "xyxy-pixel", "reach far outside their image.*'xyxy-thousandths'"),
        ("xywh-pixel", "xyxy-pixel", "have reversed corners.*'xywh-pixel'"),
        ("xyxy-pixel", "xywh-pixel", "reach far outside their image.*'xyxy-pixel'"),
    ],
)
def test_a_wrong_declaration_raises_a_doubt(really, declared, message):
    unit, sizes = real_boxes()
    doubt = implausible(in_space(unit, really), sizes, declared)
    assert doubt is not None
    import re

    assert re.search(message, doubt)


def test_numbers_above_a_thousand_are_no_thousandths():
    boxes = np.tile((100.0, 100.0, 1900.0, 1000.0), (20, 1))
    assert "above 1000" in implausible(boxes, np.tile((1920.0, 1080.0), (20, 1)), "xyxy-thousandths")


@pytest.mark.parametrize(("really", "declared"), [("xyxy-unit", "xyxy-pixel"), ("xyxy-pixel", "xyxy-unit")])
def test_a_few_boxes_are_doubted_where_all_of_them_look_wrong(really, declared):
    """Three lines with the wrong space would otherwise be scored without a word."""
    unit, sizes = real_boxes(9)
    wrong, right = in_space(unit, really), in_space(unit, declared)
    assert implausible(wrong[:1], sizes[:1], declared) is not None
    assert "100% of the boxes" in implausible(wrong, sizes, declared)
    assert implausible(np.concatenate((wrong[:8], right[8:])), sizes, declared) is None
    assert implausible(right[:3], sizes[:3], declared) is None


@pytest.mark.parametrize("count", [0, 50])
def test_boxes_without_numbers_are_not_judged(count):
    nan = np.full((count, 4), np.nan)
    assert implausible(nan, np.tile((10.0, 10.0), (count, 1)), "xyxy-pixel") is None


def test_the_first_of_two_suspicions_does_not_hide_that_all_boxes_reach_outside():
    """Of three boxes one is reversed and all reach far outside."""
    boxes = np.array([[900.0, 10, 1000, 900], [700.0, 20, 900, 950], [800.0, 30, 790, 990]])
    assert "100% of the boxes reach far outside" in implausible(
        boxes, np.tile((640.0, 480.0), (3, 1)), "xyxy-pixel"
    )
