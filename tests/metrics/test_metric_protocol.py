"""The table of protocols and the columns they fill."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refkit.metrics.protocol import (
    Column,
    Evaluation,
    Protocol,
    ProtocolError,
    get_protocol,
    protocols,
    register,
)


def test_every_protocol_says_what_it_is():
    table = protocols()
    assert "rec/1" in table
    for identifier, protocol in table.items():
        assert protocol.id == identifier
        assert protocol.text.startswith(f"{identifier}:")
        assert list(protocol.labels) == list(protocol.evaluate(iter(())).columns)


def test_an_unknown_protocol_names_the_nearest():
    with pytest.raises(ProtocolError, match="did you mean 'rec/1'"):
        get_protocol("rec/11")
    with pytest.raises(ProtocolError, match=r"no protocol '[^']*'\. There are: .*rec/1"):
        get_protocol("zzz")


def test_an_id_cannot_be_taken_twice():
    protocol = get_protocol("rec/1")
    assert register(protocol) is protocol
    other = Protocol("rec/1", "rec/1: something else", lambda pairs: Evaluation({}, np.zeros(0, bool)), {})
    with pytest.raises(ProtocolError, match="a changed protocol needs a new number"):
        register(other)
    assert get_protocol("rec/1") is protocol


def test_a_column_is_a_ratio_of_sums():
    assert Column(np.array([1.0, 2.0]), np.array([4.0, 8.0])).value == 0.25
    assert Column.mean(np.array([True, False, False])).value == pytest.approx(1 / 3)
    assert math.isnan(Column.mean(np.zeros(0)).value)


def test_the_value_of_a_column_does_not_depend_on_the_order():
    rng = np.random.default_rng(0)
    values = rng.random(10_000) * 10.0 ** rng.integers(-8, 8, 10_000)
    assert Column.mean(values).value == Column.mean(np.sort(values)).value == Column.mean(values[::-1]).value
