"""Tables of scores at any width: numbers stay in one piece, names can be read whole."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from refkit.leaderboard.fitting_table import FittingTable, Row

NAMES = [f"refshapes-some-method-{number}" for number in range(5)]
GROUPS = ["comparative", "another object, class unknown", "a_single_word_of_very_great_length_indeed"]


def number(row, column):
    return f"{10 * row + column:02d}.25 [{row}.1, {column}.3]"


@pytest.fixture
def table():
    rows = [
        Row([group, "1,234", *(number(place, column).replace("[", "\\[") for column in range(5))])
        for place, group in enumerate(GROUPS)
    ]
    return FittingTable("the title", ["", "n", *NAMES], rows, fixed=2)


def shown(table, width):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 160, 400])
def test_every_number_is_whole_at_every_width(table, width):
    text = shown(table, width)
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    for row in range(len(GROUPS)):
        for column in range(5):
            assert text.count(number(row, column)) == 1, (row, column)
    assert text.count("the title") == 1


@pytest.mark.parametrize("width", [60, 80])
def test_long_names_fold_and_stand_beside_every_part(table, width):
    text = shown(table, width)
    parts = text.count("┏")
    assert parts > 1 and text.count("1,234") == parts * len(GROUPS)
    columns = [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")]
    folded = "".join(columns).replace(" ", "")
    assert folded == parts * "".join(GROUPS).replace(" ", "")
    heads = re.findall(r"┃(.*)┃", text)
    assert "".join(line.split("┃")[-1].strip() for line in heads).endswith(NAMES[-1])


def test_a_wide_terminal_gets_one_table(table):
    assert shown(table, 200).count("┏") == 1


def test_sections_and_headings_of_two_words():
    rows = [Row(["a", "1.00"]), Row(["b", "2.00"], style="dim", section=True)]
    text = shown(FittingTable("", ["", "mean of categories"], rows), 18)
    assert "├" in text and "1.00" in text and "categories" in text
