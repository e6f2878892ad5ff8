"""Left and right are swapped as words, or not at all."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refkit.data.text_flip import can_flip, flip_text

WORDS = st.sampled_from(
    [
        *(
            "left",
            "right",
            "Left",
            "RIGHT",
            "leftmost",
            "rightmost",
            "left-hand",
            "righty",
            "lefthand",
            "LeFt",
        ),
        *(
            "laptop",
            "bright",
            "upright",
            "leftover",
            "bottomleft",
            "rigth",
            "the",
            "on",
            "far",
            "of",
            "top",
            "dog",
        ),
        *("next", "to", "now", "behind", "side", "up", "is", "has", "3", "o'clock", ",", ".", "-"),
    ]
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the left dog", "the right dog"),
        ("Right-hand side, LEFTMOST cup", "Left-hand side, RIGHTMOST cup"),
        ("laptop on the left", "laptop on the right"),
        ("bright upright lamp, copyright sign", "bright upright lamp, copyright sign"),
        ("guy on the right next to the car", "guy on the left next to the car"),
        ("lefty, not the righty", "righty, not the lefty"),
        ("left_most", "right_most"),
        ("no side at all", "no side at all"),
        ("leftover pizza on left", "leftover pizza on right"),
    ],
)
def test_swaps_whole_words_and_keeps_their_case(text, expected):
    assert can_flip(text)
    assert flip_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "bike at 3 o'clock",
        "plate at 9 oclock",
        "guy bottomleft",
        "rigth zebra",
        "LeFt one",
        "the man right next to the car",
        "right now eating",
        "the slice that is left",
        "the slice that's left",
        "r guy",
    ],
)
def test_says_when_a_swap_cannot_be_trusted(text):
    assert not can_flip(text)


@given(st.one_of(st.text(), st.lists(WORDS).map(" ".join)))
def test_twice_is_the_text_itself(text):
    assert flip_text(flip_text(text)) == text


@given(st.lists(WORDS).map(" ".join))
def test_trust_is_symmetric(text):
    assert can_flip(text) == can_flip(flip_text(text))


@pytest.mark.shared
def test_real_expressions_mostly_flip(shared):
    path = shared / "data" / "refcoco_full_eval" / "refcoco_testA.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        texts = [text for line in file for text in json.loads(line)["expressions"]]
    sided = [text for text in texts if flip_text(text) != text]
    trusted = [text for text in texts if can_flip(text)]
    assert len(texts) == 5657
    assert len(sided) > 2000
    assert len(trusted) / len(texts) > 0.97
    assert all(flip_text(flip_text(text)) == text for text in texts)
