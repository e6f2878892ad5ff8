"""Counts the multiply-adds of a run and the matrix products they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_PRODUCTS = {
    torch.ops.aten.mm.default: (0, 1),
    torch.ops.aten.addmm.default: (1, 2),
    torch.ops.aten.bmm.default: (0, 1),
    torch.ops.aten.baddbmm.default: (1, 2),
}


@dataclass(frozen=True, slots=True)
class Work:
    """The arithmetic of one run.

    Attributes:
        macs: multiply-adds of all matrix products, convolutions and attentions (one multiply-add = 2 FLOP).
        products: how often each matrix product ``(rows, inner, columns)`` was computed, batched ones once per
            batch entry; attention inside fused kernels is in ``macs`` only.
    """

    macs: int
    products: Counter[tuple[int, int, int]] = field(default_factory=Counter)

    @property
    def gmac(self) -> float:
        """Multiply-adds in 10⁹."""
        return self.macs / 1e9

    @property
    def gflop(self) -> float:
        """Floating-point operations in 10⁹, two per multiply-add."""
        return 2 * self.macs / 1e9

    def main_products(self, count: int) -> list[tuple[int, int, int]]:
        """The ``count`` product sizes that hold most of the multiply-adds, largest share first."""
        return sorted(self.products, key=lambda size: -self.products[size] * _volume(size))[:count]


def count_work(run: Callable[[], Any]) -> Work:
    """Runs ``run`` once and counts its multiply-adds.

    The count is of what is executed: tokens that were trimmed or dropped cost nothing. The formulas are those
    of ``torch.utils.flop_counter``, fused attention included (MMEngine's complexity tool leaves that out).
    Its `FlopCounterMode` is not used: it follows modules with autograd hooks, which inference mode forbids.
    """
    with _ArithmeticCounter() as counter:
        run()
    return Work(counter.flop // 2, counter.products)


class _ArithmeticCounter(TorchDispatchMode):
    """Sees every operation below autograd, takes composite ones apart, and adds up the arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.flop = 0
        self.products: Counter[tuple[int, int, int]] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None:
            with self:
                parts = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if parts is NotImplemented else parts
        result = func(*args, **kwargs)
        self.flop += formula(*args, **kwargs, out_val=result)
        if func in _PRODUCTS:
            left, right = (args[position].shape for position in _PRODUCTS[func])
            entries = left[0] if len(left) == 3 else 1
            self.products[(left[-2], left[-1], right[-1])] += entries
        return result


def _volume(size: tuple[int, int, int]) -> int:
    rows, inner, columns = size
    return rows * inner * columns
