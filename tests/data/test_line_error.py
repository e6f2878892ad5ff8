import pytest

from refkit.data.line_error import LineError
from refkit.data.schema import RecordError
from refkit.leaderboard.schema import PredictionError


@pytest.mark.parametrize("kind", [LineError, RecordError, PredictionError])
def test_the_place_stands_before_the_reason_and_the_kind_stays(kind, tmp_path):
    error = kind("expected a number", "boxes[0]")
    assert str(error) == "boxes[0]: expected a number"
    placed = error.at(tmp_path / "a.jsonl", 3)
    assert type(placed) is kind
    assert str(placed) == f"{tmp_path}/a.jsonl:3: boxes[0]: expected a number"
    assert (placed.line, placed.field, placed.reason) == (3, "boxes[0]", "expected a number")
    assert str(kind("torn", path="a.jsonl")) == "a.jsonl: torn"
