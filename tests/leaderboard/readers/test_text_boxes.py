"""Boxes in raw answers: every syntax of the table, and texts that hold none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import must_end

from refkit.leaderboard.readers.text_boxes import LONGEST_ANSWER, boxes_in_text


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        ('```json\n[{"bbox_2d": [14, 135, 136, 470], "label": "man"}]\n```', [[14, 135, 136, 470]]),
        ('{"bbox_2d": [1, 2, 3, 4]} {"bbox_2d": [5, 6, 7, 8]}', [[1, 2, 3, 4], [5, 6, 7, 8]]),
        ('{"bbox": [1.5, 2, 3e2, 4]}', [[1.5, 2, 300, 4]]),
        ("<ref>dog</ref><box>(123,45),(678,901)</box>", [[123, 45, 678, 901]]),
        ("<|object_ref_start|>x<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>", [[1, 2, 3, 4]]),
        ("dog<loc_52><loc_333><loc_932><loc_774>", [[52.5, 333.5, 932.5, 774.5]]),
        ("The man [0.120,0.340,0.560,0.780] on the left.", [[0.12, 0.34, 0.56, 0.78]]),
        ("two [0.1,0.2,0.3,0.4;0.5,0.6,0.7,0.8]", [[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]]),
        ("It is at [[017, 200, 400, 999]].", [[17, 200, 400, 999]]),
        ("[-3, 2, 30, 40]", [[-3, 2, 30, 40]]),
        ("from (10, 20) (30, 40)", [[10, 20, 30, 40]]),
        ("<think>[1, 1, 2, 2]</think><answer>[5, 6, 7, 8]</answer>", [[5, 6, 7, 8]]),
        ("<answer>[5, 6, 7, 8]", [[5, 6, 7, 8]]),
        ("<box>(1,2),(3,4)</box> and [9,9,10,10]", [[1, 2, 3, 4]]),
    ],
)
def test_syntaxes(text, boxes):
    assert boxes_in_text(text).tolist() == boxes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the person is at the bottom",
        "[1, 2, 3]",
        "[1, 2, 3, 4, 5]",
        "[a, b, c, d]",
        "[1 2 3 4]",
        "<loc_1><loc_2><loc_3>",
        "<box>(1,2)</box>",
        "1, 2, 3, 4",
        "<answer>none</answer>[1, 2, 3, 4]",
        "[nan, 1, 2, 3]",
        "[" + "1" * 40 + ",2,3,4]",
    ],
)
def test_no_box(text):
    assert boxes_in_text(text) is None


def test_huge_exponents_become_infinite_and_so_invalid():
    assert np.isinf(boxes_in_text("[1e999, 2, 3, 4]")).any()


@given(st.text(alphabet='[](),;<>0123456789.e+- \n"bbox_2d:answer/loc', max_size=300))
def test_any_text_gives_boxes_or_nothing(text):
    boxes = boxes_in_text(text)
    assert boxes is None or (boxes.ndim == 2 and boxes.shape[1] == 4 and len(boxes) > 0)


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "(",
        "1,",
        "<answer>",
        "<answer></answer>",
        "(1,2)" + " " * 50,
        "[1,1,1",
        '"bbox"',
        "<loc_1>",
        ";1,2,3,",
        " ",
        "[[1,2,3,4]",
    ],
)
def test_every_text_comes_to_an_end(piece):
    text = (piece * (LONGEST_ANSWER // len(piece)))[:LONGEST_ANSWER]
    with must_end(piece):
        boxes_in_text(text)
    assert boxes_in_text(text + "x" * len(piece)) is None or len(text) + len(piece) <= LONGEST_ANSWER
