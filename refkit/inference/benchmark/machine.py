"""What this machine can do: rates of plain matrix products, the yardstick for everything else."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from refkit.engine.precision import computes_bfloat16
from refkit.engine.run_record import processor_name
from refkit.inference.benchmark.timing import Timing

#: Sides of the square products; which one is fastest differs between machines.
SQUARE_SIDES = (1024, 2048, 3072)

Product = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ProductRate:
    """Measured rate of one matrix product ``(rows, inner) @ (inner, columns)``.

    Attributes:
        size: ``(rows, inner, columns)``.
        median: GFLOP/s of the median repeat.
        best: GFLOP/s of the fastest repeat.
    """

    size: Product
    median: float
    best: float

    @classmethod
    def of(cls, size: Product, timing: Timing) -> ProductRate:
        """The rate behind measured times."""
        rows, inner, columns = size
        gflop = 2 * rows * inner * columns / 1e9
        return cls(size, gflop / timing.median, gflop / timing.best)


def squares(sides: Sequence[int] = SQUARE_SIDES) -> list[Product]:
    """Square products of the given sides."""
    return [(side, side, side) for side in sides]


def product_run(size: Product, dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    """A call that computes one matrix product as a linear layer would, in inference mode.

    The weight is stored ``(columns, inner)`` like that of ``torch.nn.Linear``: a library may be faster on one
    orientation, and models use this one.
    """
    rows, inner, columns = size
    left = torch.randn(rows, inner, device=device).to(dtype)
    weight = torch.randn(columns, inner, device=device).to(dtype)

    def run() -> object:
        with torch.inference_mode():
            return torch.nn.functional.linear(left, weight)

    return run


@dataclass(frozen=True, slots=True)
class Yardstick:
    """How fast square float32 products were while a model was measured.

    Attributes:
        turns: GFLOP/s of the fastest square product of each repeat.
    """

    turns: tuple[float, ...]

    @classmethod
    def of(cls, timings: Mapping[Product, Timing]) -> Yardstick:
        """The yardstick behind the times of float32 products; those that are not square are left out.

        Raises:
            ValueError: there is no square product among them.
        """
        rates = [
            [2 * size[0] ** 3 / 1e9 / seconds for seconds in timing.seconds]
            for size, timing in timings.items()
            if len(set(size)) == 1
        ]
        if not rates:
            raise ValueError("the peak is defined by square products, and none was measured.")
        return cls(tuple(map(max, zip(*rates, strict=True))))

    @property
    def peak(self) -> float:
        """GFLOP/s of the fastest repeat of the fastest square product."""
        return max(self.turns)


def describe_machine(device: torch.device) -> dict[str, str | int | bool]:
    """Processor or accelerator, threads and versions: what a reader needs to judge a rate."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    return {
        "device": device.type,
        "name": name,
        "threads": torch.get_num_threads(),
        "native_bfloat16": computes_bfloat16(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
