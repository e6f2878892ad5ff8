"""Metrics within groups of samples: by kind of expression, by category, by any fact of a record."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from refkit.metrics.protocol import Column, Corpus, Resampler, ratio

if TYPE_CHECKING:
    from refkit.data.records import Record

UNKNOWN = "(unknown)"


class Groups:
    """The group of each sample, added one by one."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._codes = array("q")

    def add(self, label: str) -> None:
        """The group of the next sample."""
        self._codes.append(self._numbers.setdefault(label, len(self._numbers)))

    def join(self, other: Groups) -> None:
        """The groups of further samples."""
        place = np.array([self._numbers.setdefault(name, len(self._numbers)) for name in other._numbers])
        self._codes.extend(place[np.array(other._codes, np.int64)].tolist() if len(other._codes) else ())

    @property
    def labels(self) -> list[str]:
        """Labels sorted, `UNKNOWN` last."""
        return sorted(self._numbers, key=lambda label: (label == UNKNOWN, label))

    def codes(self) -> NDArray[np.int64]:
        """``(n,)`` index into `labels`: independent of the order in which the labels appeared."""
        place = np.empty(len(self._numbers), np.int64)
        place[[self._numbers[label] for label in self.labels]] = np.arange(len(self._numbers))
        return place[np.array(self._codes, np.int64)]


def group_label(record: Record, name: str) -> str:
    """The group of a record.

    Args:
        record: any record.
        name: ``category`` (of its first target) or a key of ``facts``.
    """
    if name == "category":
        value: Any = record.targets[0].category if record.targets else None
    else:
        value = (record.facts or {}).get(name)
    if value is None or isinstance(value, list | dict):
        return UNKNOWN
    return str(value)


def group_columns(
    columns: Mapping[str, Column | Corpus], groups: Groups
) -> Iterator[tuple[str, int, dict[str, Column | Corpus]]]:
    """Each metric within each group, one group at a time.

    Args:
        columns: metrics over all ``n`` samples.
        groups: the group of each of them.

    Yields:
        Label, number of samples in the group, and the columns of all ``n`` samples, zero outside of the
        group.
    """
    codes = groups.codes()
    for code, label in enumerate(groups.labels):
        inside = codes == code
        yield label, int(inside.sum()), {name: column.within(inside) for name, column in columns.items()}


def mean_over_groups(column: Column, codes: NDArray[np.int64]) -> Corpus:
    """The plain mean of a metric's values in each group.

    Args:
        column: the metric over ``n`` samples.
        codes: ``(n,)`` number of the group of each sample.
    """

    def weighted(counts: NDArray[np.float64]) -> float:
        below = np.bincount(codes, weights=counts * column.denominator)
        above = np.bincount(codes, weights=counts * column.numerator)
        found = below > 0
        return float((above[found] / below[found]).mean()) if found.any() else float("nan")

    def part(members: NDArray[np.int64]) -> Resampler:
        from scipy.sparse import csr_array

        places = codes[members], np.arange(len(members))
        above, below = (
            csr_array((values[members], places), shape=(codes.max(initial=0) + 1, len(members)))
            for values in (column.numerator, column.denominator)
        )

        def drawn(counts: NDArray[np.float64]) -> NDArray[np.float64]:
            values = ratio(above @ counts, below @ counts)
            return ratio(np.nansum(values, axis=0), np.isfinite(values).sum(axis=0))

        return drawn

    return Corpus(len(codes), weighted, part=part)
