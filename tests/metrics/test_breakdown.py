"""Groups of samples and their metrics."""

from __future__ import annotations

import numpy as np
import pytest

from refkit.data.records import ImageRef, Record, Target
from refkit.metrics.breakdown import UNKNOWN, Groups, group_columns, group_label
from refkit.metrics.protocol import Column


def groups_of(*labels):
    groups = Groups()
    for label in labels:
        groups.add(label)
    return groups


def test_labels_are_sorted_with_the_unknown_ones_last():
    groups = groups_of("z", UNKNOWN, "a", "z")
    assert groups.labels == ["a", "z", UNKNOWN]
    assert groups.codes().tolist() == [1, 2, 0, 1]


def test_the_parts_add_up_to_the_whole():
    columns = {"hit": Column.mean(np.array([1, 0, 1, 1.0])), "ratio": Column(np.arange(4.0), np.full(4, 2.0))}
    parts = {label: (n, cell) for label, n, cell in group_columns(columns, groups_of("a", "b", "a", "b"))}
    assert {label: n for label, (n, _) in parts.items()} == {"a": 2, "b": 2}
    assert parts["a"][1]["hit"].value == 1.0
    assert parts["b"][1]["hit"].value == 0.5
    assert parts["b"][1]["ratio"].value == pytest.approx((1 + 3) / 4)
    for name, column in columns.items():
        total = sum(cell[name].numerator for _, cell in parts.values())
        assert np.array_equal(total, column.numerator)


def test_labels_come_from_facts_and_categories():
    record = Record(
        "a",
        ImageRef("a.jpg", 10, 10),
        targets=[Target(box=(0, 0, 1, 1), category="dog")],
        facts={"kind": "relation", "words": 3, "ordinal": False, "objects": [[0, 0, 1, 1]]},
    )
    assert group_label(record, "category") == "dog"
    assert group_label(record, "kind") == "relation"
    assert group_label(record, "words") == "3"
    assert group_label(record, "ordinal") == "False"
    for without in ("objects", "colour"):
        assert group_label(record, without) == UNKNOWN
    assert group_label(Record("b", ImageRef("b.jpg", 1, 1)), "category") == UNKNOWN
