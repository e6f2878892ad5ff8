"""The quick reader of JSON lines: equal to the strict one, or silent."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refkit.data.json_object import quick_object
from refkit.data.schema import RecordError
from refkit.data.validation import parse_line

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12) | st.sampled_from(
    ['"', '":', " :", '\\":']
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, VALUES, max_size=4), st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
def test_what_it_reads_is_what_the_standard_library_reads(fields, separators):
    line = json.dumps(fields, separators=separators).encode()
    found = quick_object(line)
    assert found is None or found == json.loads(line)


def test_it_reads_the_usual_line():
    line = (
        b'{"id": "a:1", "image": {"file": "a.jpg"}, "targets": [{"box": [1.5, 2, 3, 4]}], "text": "at 5: 30"}'
    )
    assert quick_object(line) == json.loads(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": 1, "a": 2}',
        b'{"a" : 1, "a": 2}',
        b'{"a"\t: 1, "b": {"c": 1, "c": 2}}',
        b'{"a": [{"b": 1, "b": 2}]}',
        b'{"a": [[{"b": 1, "b": 2}]]}',
        b'{"a": 1, "a": "x:y"}',
    ],
)
def test_a_key_that_stands_twice_is_left_to_the_strict_decoder(line):
    assert quick_object(line) is None
    with pytest.raises(RecordError, match="stands twice"):
        parse_line(line)


@pytest.mark.parametrize(
    "line", [b"", b"[1]", b"3", b'{"a": NaN}', b'{"a": 1e999}', b'\xff{"a": 1}', b'{"a": 1']
)
def test_what_is_no_plain_object_is_left_to_the_strict_decoder(line):
    assert quick_object(line) is None
