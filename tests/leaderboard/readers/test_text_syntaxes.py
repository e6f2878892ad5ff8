"""Answers that supervision parses: as each model writes them, broken ones, and hostile ones."""

import json

import numpy as np
import pytest
from foreign_files import BOXES, HEIGHT, WIDTH, convert, lines, put
from patience import must_end
from supervision import Detections

from refkit.leaderboard.predictions import read_predictions
from refkit.leaderboard.readers.answers import AnswerError
from refkit.leaderboard.readers.text_boxes import boxes_in_text
from refkit.leaderboard.readers.text_syntaxes import LONGEST_ANSWER, SYNTAXES, parser
from refkit.leaderboard.scoring import score

ANSWERS = {
    "paligemma": ("<loc0256><loc0128><loc0512><loc1023> man on the left", [[128, 256, 1023, 512]], 1024),
    "deepseek-vl2": (
        "<|ref|>giraffes<|/ref|><|det|>[[580, 270, 999, 904], [26, 31, 632, 998]]<|/det|>",
        [[580, 270, 999, 904], [26, 31, 632, 998]],
        999,
    ),
    "gemini": (
        '```json\n[{"box_2d": [10, 20, 110, 120], "label": "cat"}]\n```',
        [[20, 10, 120, 110]],
        1000,
    ),
}
BROKEN = {
    "paligemma": ["", "no box", "<loc0256><loc0128>", "<loc1><loc2><loc3><loc4> cat"],
    "deepseek-vl2": [
        "<|ref|>a<|/ref|>",
        "<|ref|>a<|/ref|><|det|>[[1, 2]]<|/det|>",
        "<|ref|>a<|/ref|><|det|>[[a, b, c, d]]<|/det|>",
    ],
    "gemini": ["[", '[{"box_2d": [1], "label": "x"}]', '[{"box_2d": {}, "label": "x"}]', "[" * 9000, "null"],
}


def test_each_syntax_becomes_fractions_of_the_picture():
    assert ANSWERS.keys() == SYNTAXES.keys()
    for syntax, (text, boxes, bins) in ANSWERS.items():
        found = parser(syntax)(text)
        assert found.dtype == np.float64
        assert found == pytest.approx(np.array(boxes) / bins, abs=1e-6), syntax


@pytest.mark.parametrize(
    ("syntax", "text"), [(name, text) for name, texts in BROKEN.items() for text in texts]
)
def test_broken_answers_hold_no_box(syntax, text):
    assert parser(syntax)(text) is None


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("piece", ["<|ref|>", "<|det|>[", "<loc0001>", "{", '{"a":', "[", "}{", "x ", "\n"])
def test_every_answer_comes_to_an_end(syntax, piece):
    with must_end(piece):
        assert parser(syntax)((piece * LONGEST_ANSWER)[:LONGEST_ANSWER]) is None
    text = ANSWERS[syntax][0]
    assert parser(syntax)(text + " " * (LONGEST_ANSWER + 1 - len(text))) is None


def test_answers_become_a_prediction_file(tmp_path, records):
    rows = [
        {"id": f"toy.{100 + n}", "answer": json.dumps([{"box_2d": thousandths_y_first(box), "label": "x"}])}
        for n, box in enumerate(BOXES)
    ]
    rows[2]["answer"] = "There is no such thing."
    source = put(tmp_path, "a.jsonl", lines(rows))
    report, out = convert("gemini", source, records, "xyxy-unit")
    assert score(records, out, draws=0)["acc90"] == pytest.approx(11 / 12)
    assert report.unparsable == 1 and report.warning is None
    assert read_predictions(out)[1]["toy.102"].raw == "There is no such thing."
    with pytest.raises(AnswerError, match=r"'gemini' are read as xyxy-unit.*instead of 'xyxy-pixel'"):
        convert("gemini", source, records)


def thousandths_y_first(box):
    x1, y1, x2, y2 = box
    return [round(1000 * side) for side in (y1 / HEIGHT, x1 / WIDTH, y2 / HEIGHT, x2 / WIDTH)]


@pytest.mark.parametrize(
    "text",
    [
        '```json\n[{"bbox_2d": [14, 135, 136, 470], "label": "man"}]\n```',
        '[{"bbox_2d": [1, 2, 3, 4], "label": ""}]',
    ],
)
def test_refkits_own_reading_of_qwen_is_that_of_supervision(text):
    own = boxes_in_text(text)
    sizes = {"input_wh": (1000, 1000), "resolution_wh": (1000, 1000)}
    assert own == pytest.approx(Detections.from_vlm("qwen_2_5_vl", text, **sizes).xyxy)
    assert own == pytest.approx(Detections.from_vlm("qwen_3_vl", text, resolution_wh=(1000, 1000)).xyxy)
