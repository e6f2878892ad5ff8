"""Equal rows stand together, whatever their hashes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from refkit.leaderboard.breakdowns.equal_rows import _MIX, _STEP, _hashes, equal_rows


def groups(columns):
    order, same = equal_rows(columns)
    number = np.concatenate(([0], np.cumsum(~same)))[: len(order)]
    found = {}
    for place, row in zip(number.tolist(), order.tolist(), strict=True):
        found.setdefault(place, set()).add(row)
    return sorted(map(sorted, found.values()))


@given(st.lists(st.tuples(st.integers(-2, 2), st.sampled_from([0.0, -0.0, 1.5, -7.25]))))
def test_rows_are_grouped_by_their_values(rows):
    expected = {}
    for row, value in enumerate(rows):
        expected.setdefault(value, []).append(row)
    columns = [np.array([one[0] for one in rows], np.int64), np.array([one[1] for one in rows], np.float64)]
    assert groups(columns) == sorted(expected.values())


def test_rows_of_one_hash_are_told_apart():
    def mixed(value):
        total = (np.array([value]).view(np.uint64)) * _MIX + _STEP
        return total ^ (total >> np.uint64(29))

    first, second = np.array([1, 2, 1, 2]), np.array([5, 0, 5, 0])
    second[[1, 3]] = (mixed(1) + np.uint64(5) - mixed(2)).view(np.int64)
    assert len(set(_hashes([first, second]).tolist())) == 1
    assert groups([first, second]) == [[0, 2], [1, 3]]
