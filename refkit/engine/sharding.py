"""Evaluation over several processes: every sample once, every batch the same as on one process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from refkit.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class WholeBatchSampler(Sampler[list[int]]):
    """Deals whole batches of consecutive samples to the processes in turn.

    The batches are those of a single process, so a prediction does not depend on how many processes evaluate
    (sums in matrix products may round differently in a batch of another size). Processes may get unequal
    counts, even none; results are gathered by sample id.

    Args:
        sampler: its ``dataset`` counts; its order does not.
        batch_size: samples per batch.
    """

    def __init__(self, sampler: Any, batch_size: int) -> None:
        self.rank, self.ranks = get_dist_info()
        self.sampler = sampler
        self.batch_size = batch_size
        self._count = len(sampler.dataset)

    def __len__(self) -> int:
        """Batches of this process."""
        return len(self._starts())

    def __iter__(self) -> Iterator[list[int]]:
        """Lists of consecutive indices."""
        return (list(range(start, min(start + self.batch_size, self._count))) for start in self._starts())

    def _starts(self) -> range:
        return range(self.rank * self.batch_size, self._count, self.ranks * self.batch_size)
