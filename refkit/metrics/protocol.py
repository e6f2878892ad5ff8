"""What a protocol is, and the table of all protocols.

A protocol is a frozen text with an id (``rec/1``) and the code that does what the text says; changing
anything means a new number. One module of this package adds one family of protocols by calling `register`
when it is imported; `get_protocol` imports the modules of the package the first time it is asked.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from refkit.data.records import Record
    from refkit.structures import Prediction


class ProtocolError(ValueError):
    """A protocol that does not exist, or records that it cannot score."""


class AnswerError(ValueError):
    """A prediction that contradicts its record, such as a mask of another image; no protocol scores it."""


@dataclass(frozen=True, eq=False)
class Column:
    """One metric, as the ratio of two sums over samples: ``sum(numerator) / sum(denominator)``.

    A mean has the denominator 1 everywhere; overall IoU has intersections over unions. Everything that is
    computed *about* a metric (its value, its interval, its value in a subgroup) needs these two arrays only.

    Attributes:
        numerator: ``(n,)`` float64.
        denominator: ``(n,)`` float64.
    """

    numerator: NDArray[np.float64]
    denominator: NDArray[np.float64]

    @classmethod
    def mean(cls, values: NDArray) -> Column:
        """The plain mean of ``(n,)`` values."""
        return cls(np.asarray(values, np.float64), _ones(len(values)))

    @property
    def value(self) -> float:
        """The metric; NaN over no samples. The sums are exact, so the order of the samples does not
        matter."""
        above, below = (
            float(values.sum()) if whole else math.fsum(values)
            for values, whole in zip((self.numerator, self.denominator), self.whole, strict=True)
        )
        return above / below if below else math.nan

    @cached_property
    def whole(self) -> tuple[bool, bool]:
        """Whether numerator and denominator are whole numbers, which any order of adding adds up exactly."""
        return _whole(self.numerator), _whole(self.denominator)

    def within(self, inside: NDArray[np.bool_]) -> Column:
        """The same metric over the samples where ``inside`` ``(n,)`` is True."""
        return Column(self.numerator * inside, self.denominator * inside)


Resampler = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From ``(m, c)``, how often each of ``m`` samples counts in each of ``c`` draws, to ``(c,)`` values."""


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """One metric that is no ratio of sums: average precision, BLEU, a mean over classes.

    It is a function of how often each sample counts, which is all that its value (every sample once), its
    interval (as often as its image was drawn) and its value in a subgroup (zero times outside) need.

    Attributes:
        n: number of samples.
        weighted: from ``(n,)`` float64 counts to the metric; NaN where nothing is left to compute it from.
        sums: where the metric is a function of sums over samples (BLEU, METEOR), ``(n, s)`` what is summed,
            so that thousands of draws and groups are one matrix product; else None.
        combine: that function, from ``(..., s)`` sums to ``(...)`` values.
        part: a quick way to the metric over some samples in many draws, see `resampler`; None for none.
    """

    n: int
    weighted: Callable[[NDArray[np.float64]], float]
    sums: NDArray[np.float64] | None = None
    combine: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None
    part: Callable[[NDArray[np.int64]], Resampler] | None = None

    @classmethod
    def of_sums(
        cls, sums: NDArray[np.float64], combine: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    ) -> Corpus:
        """A function of ``(n, s)`` sums over samples."""

        def part(members: NDArray[np.int64]) -> Resampler:
            return lambda counts: combine(counts.T @ sums[members])

        return cls(len(sums), lambda counts: float(combine(counts @ sums)), sums, combine, part)

    @property
    def value(self) -> float:
        """The metric with every sample counted once; NaN over no samples."""
        return self.weighted(np.ones(self.n)) if self.n else math.nan

    def within(self, inside: NDArray[np.bool_]) -> Corpus:
        """The same metric over the samples where ``inside`` ``(n,)`` is True."""
        return Corpus(self.n, lambda counts: self.weighted(counts * inside))

    def resampler(self, members: NDArray[np.int64]) -> Resampler:
        """The metric over the samples of the ``(m,)`` rising numbers ``members``, in many draws at once."""
        if self.part is not None:
            return self.part(members)

        def one_by_one(counts: NDArray[np.float64]) -> NDArray[np.float64]:
            times, values = np.zeros(self.n), np.empty(counts.shape[1])
            for draw, drawn in enumerate(counts.T):
                times[members] = drawn
                values[draw] = self.weighted(times)
            return values

        return one_by_one


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What a protocol says about ``n`` samples, in the order it was given them.

    Attributes:
        columns: the metrics by name, in the order in which they are shown.
        invalid: ``(n,)`` bool, answered, but without a usable answer.
        per_sample: ``(n,)`` arrays by name for the per-sample file.
        details: further tables of numbers by name, such as the average precision of every attribute.
        warnings: sentences for the reader: what could not be computed, what was decided on the way.
        tools: which program did a part of the work, by part: ``{"tokenizer": "ptb-java"}``.
    """

    columns: Mapping[str, Column | Corpus]
    invalid: NDArray[np.bool_]
    per_sample: Mapping[str, NDArray] = field(default_factory=dict)
    details: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    tools: Mapping[str, str] = field(default_factory=dict)

    def joined(self, other: Evaluation) -> Evaluation:
        """The evaluation of these samples and then of ``other``'s, under the same `Protocol.by_sample`."""
        columns: dict[str, Column | Corpus] = {}
        for name, column in self.columns.items():
            theirs = other.columns[name]
            assert isinstance(column, Column) and isinstance(theirs, Column)  # by `Protocol.by_sample`
            columns[name] = Column(
                np.concatenate((column.numerator, theirs.numerator)),
                np.concatenate((column.denominator, theirs.denominator)),
            )
        rows = {
            name: np.concatenate((values, other.per_sample[name])) for name, values in self.per_sample.items()
        }
        warnings = tuple(dict.fromkeys((*self.warnings, *other.warnings)))
        return Evaluation(columns, np.concatenate((self.invalid, other.invalid)), rows, warnings=warnings)


@dataclass(frozen=True, slots=True)
class Protocol:
    """A frozen definition of how predictions are scored.

    Attributes:
        id: name and number, such as ``rec/1``.
        text: the definition in words, printed beside every number.
        evaluate: called with pairs of a record and its prediction (None where it is missing), one pair per
            record, in the order of the records. Streams, so that masks need not be held in memory.
        labels: how each metric is written in a table, by its name in `Evaluation.columns`.
        with_masks: the answers depend on the masks of the records, so that ``digest_masks`` has to agree too.
        by_sample: each sample is evaluated by itself, so that parts of the records can be evaluated apart;
            every metric is a `Column`.
        task: the task of the records it scores, one of `refkit.data.schema.TASKS`.
        answer: the field of a `Prediction` that it reads.
    """

    id: str
    text: str
    evaluate: Callable[[Iterable[tuple[Record, Prediction | None]]], Evaluation]
    labels: Mapping[str, str]
    with_masks: bool = False
    by_sample: bool = False
    task: str = "rec"
    answer: str = "boxes"


def ratio(above: NDArray, below: NDArray, empty: float = math.nan) -> NDArray[np.float64]:
    """``above / below`` elementwise, and ``empty`` where nothing is below."""
    return np.divide(above, below, out=np.full(above.shape, empty), where=below > 0)


@lru_cache(maxsize=1)
def _ones(count: int) -> NDArray[np.float64]:
    """One array for all means over the same samples, so that what is summed once is known for all."""
    ones = np.ones(count)
    ones.flags.writeable = False
    return ones


def _whole(values: NDArray[np.float64]) -> bool:
    return bool((values == np.rint(values)).all() and np.abs(values).sum() < 2**53)


_PROTOCOLS: dict[str, Protocol] = {}


def register(protocol: Protocol) -> Protocol:
    """Add a protocol to the table.

    Raises:
        ProtocolError: another protocol has this id.
    """
    if _PROTOCOLS.setdefault(protocol.id, protocol) is not protocol:
        raise ProtocolError(
            f"two protocols are called {protocol.id!r}; a changed protocol needs a new number"
        )
    return protocol


def protocols() -> dict[str, Protocol]:
    """All protocols by id, sorted."""
    package = importlib.import_module("refkit.metrics")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"refkit.metrics.{module.name}")
    return dict(sorted(_PROTOCOLS.items()))


def get_protocol(identifier: str) -> Protocol:
    """The protocol of this id.

    Raises:
        ProtocolError: there is none; names the nearest and all others.
    """
    table = protocols()
    if identifier not in table:
        near = get_close_matches(identifier, table, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ProtocolError(f"no protocol {identifier!r}{hint} There are: {', '.join(table)}")
    return table[identifier]
