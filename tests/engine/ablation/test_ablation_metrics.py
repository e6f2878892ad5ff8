"""Metrics of a run that a table keeps."""

from __future__ import annotations

import math

import pytest

from refkit.engine.ablation.process import _finite


def test_averages_over_nothing_are_left_out():
    """Attributes without frequency groups have no average by group."""
    assert _finite({"attributes/map": 0.5, "attributes/map_head": math.nan}) == {"attributes/map": 0.5}


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [({}, "no validation"), ({"loss": math.nan}, "no validation"), ({"a": 1.0, "b": math.inf}, "finite: b")],
)
def test_a_run_without_a_usable_metric_has_failed(metrics, reason):
    with pytest.raises(RuntimeError, match=reason):
        _finite(metrics)
