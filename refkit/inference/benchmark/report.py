"""The result of a benchmark: one JSON document, and the same as a table."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from refkit.inference.benchmark.counting import Work
from refkit.inference.benchmark.machine import ProductRate
from refkit.inference.benchmark.timing import Timing

FORMAT = "refkit.benchmark/1"

_QUIET = 0.85


@dataclass(frozen=True, slots=True)
class Measurement:
    """One activity in one precision.

    Attributes:
        activity: ``loading``, ``training step`` or ``evaluation``.
        precision: ``float32``, ``bfloat16``, or ``-`` where nothing is computed with floats.
        samples_per_second: from the median repeat.
        seconds: median of one batch.
        spread: ``(fastest, slowest)`` repeat in seconds.
        gmac_per_sample: multiply-adds actually executed, 10⁹ per sample; None for loading.
        gflops: GFLOP/s reached, two FLOP per multiply-add; None for loading.
        share_of_peak: ``gflops`` over the peak of this run; None for loading.
        share_of_turn: median over the repeats of the share of the fastest square product of the same turn.
            The two agree on a quiet machine; on a busy one this share says more about the model.
        peak_memory: bytes, see `refkit.inference.benchmark.timing.peak_memory`.
    """

    activity: str
    precision: str
    samples_per_second: float
    seconds: float
    spread: tuple[float, float]
    gmac_per_sample: float | None = None
    gflops: float | None = None
    share_of_peak: float | None = None
    share_of_turn: float | None = None
    peak_memory: int | None = None

    @classmethod
    def computed(
        cls,
        activity: str,
        precision: str,
        timing: Timing,
        samples: int,
        work: Work,
        peak: float,
        turns: Sequence[float],
        memory: int,
    ) -> Measurement:
        """A measurement of an activity that does ``work`` on ``samples`` samples.

        Args:
            activity: its name.
            precision: of the model.
            timing: of one batch.
            samples: of one batch.
            work: of one batch.
            peak: of the whole run, GFLOP/s.
            turns: fastest square product of each repeat, GFLOP/s.
            memory: peak, in bytes.
        """
        beside = [work.gflop / seconds / rate for seconds, rate in zip(timing.seconds, turns, strict=True)]
        reached = work.gflop / timing.median
        return cls(
            activity,
            precision,
            samples / timing.median,
            timing.median,
            (timing.best, max(timing.seconds)),
            gmac_per_sample=work.gmac / samples,
            gflops=reached,
            share_of_peak=reached / peak,
            share_of_turn=statistics.median(beside),
            peak_memory=memory,
        )


@dataclass(frozen=True, slots=True)
class BenchmarkReport:
    """Everything one run of the benchmark found.

    Attributes:
        config: name of the config.
        batch_size: samples per batch.
        repeats: timed repeats of each measurement; medians are reported.
        machine: see `refkit.inference.benchmark.machine.describe_machine`.
        peak_gflops: the fastest square float32 matrix product of this run; all shares refer to it.
        quiet: median over all repeats of their fastest square product, over the peak; 1 on a quiet machine.
        products: rates of square products and of the model's own sizes, by precision.
        measurements: the results.
        note: what a reader has to know about the inputs.
    """

    config: str
    batch_size: int
    repeats: int
    machine: dict[str, Any]
    peak_gflops: float
    quiet: float
    products: dict[str, list[ProductRate]]
    measurements: list[Measurement]
    note: str = ""

    def find(self, activity: str, precision: str) -> Measurement | None:
        """The measurement of an activity in a precision, None if it was not taken."""
        for measurement in self.measurements:
            if (measurement.activity, measurement.precision) == (activity, precision):
                return measurement
        return None

    def speedup(self, activity: str, precision: str = "bfloat16", over: str = "float32") -> float | None:
        """How many times faster an activity is in one precision than in another; None without both."""
        fast, slow = self.find(activity, precision), self.find(activity, over)
        return slow.seconds / fast.seconds if fast and slow else None

    def to_json(self) -> str:
        """The report as a JSON document with the ratios spelled out."""
        content = {"format": FORMAT, **asdict(self)}
        content["speedup_bfloat16"] = {
            activity: self.speedup(activity) for activity in ("training step", "evaluation")
        }
        return json.dumps(content, indent=2) + "\n"

    def table(self) -> Group:
        """The report for a terminal."""
        lines = [
            Text(f"{self.config}, batch {self.batch_size}, medians of {self.repeats} repeats. {self.note}")
        ]
        machine = self.machine
        lines.append(Text(f"{machine['name']}, {machine['threads']} threads, torch {machine['torch']}"))
        ratios = [
            f"{activity} {ratio:.2f}×"
            for activity in ("training step", "evaluation")
            if (ratio := self.speedup(activity)) is not None
        ]
        if ratios:
            lines.append(Text(f"bfloat16 over float32: {', '.join(ratios)}"))
        if self.quiet < _QUIET:
            lines.append(
                Text(
                    f"This machine was busy: the matrix products ran at {self.quiet:.0%} of their peak.",
                    style="yellow",
                )
            )
        return Group(*lines, self._measurement_table(), self._product_table())

    def _measurement_table(self) -> Table:
        table = Table(title="What the config does (GMAC per sample)", box=SIMPLE_HEAD)
        for column in ("activity", "precision"):
            table.add_column(column, no_wrap=True)
        for column in ("samples/s", "GMAC", "of peak", "of turn", "memory"):
            table.add_column(column, justify="right", no_wrap=True)
        for row in self.measurements:
            table.add_row(
                row.activity,
                row.precision,
                f"{row.samples_per_second:.1f}",
                _or_dash(row.gmac_per_sample, "{:.2f}"),
                _or_dash(row.share_of_peak, "{:.0%}"),
                _or_dash(row.share_of_turn, "{:.0%}"),
                _or_dash(row.peak_memory and row.peak_memory / 2**20, "{:.0f} MiB"),
            )
        return table

    def _product_table(self) -> Table:
        title = f"Matrix products, GFLOP/s (the peak is {self.peak_gflops:.0f})"
        table = Table(title=title, box=SIMPLE_HEAD)
        table.add_column("rows × inner × columns", no_wrap=True)
        for precision in self.products:
            table.add_column(f"{precision} median", justify="right")
            table.add_column("best", justify="right")
        for rates in zip(*self.products.values(), strict=True):
            cells = [cell for rate in rates for cell in (f"{rate.median:.0f}", f"{rate.best:.0f}")]
            table.add_row(" × ".join(map(str, rates[0].size)), *cells)
        return table


def _or_dash(value: float | None, pattern: str) -> str:
    return "-" if value is None else pattern.format(value)
