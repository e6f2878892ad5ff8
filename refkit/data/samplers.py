"""Samplers whose order is a function of (seed, epoch, rank), so that a resumed run goes on as before."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from refkit.data.arguments import require_choice
from refkit.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class EpochSampler(Sampler[int]):
    """Training order: one permutation per (seed, epoch), dealt out to the ranks in turn.

    `set_epoch` also sets the epoch of the data set, so that one call moves order and augmentation together
    (the runner's ``DistSamplerSeedHook`` makes it). `skip` continues inside an epoch: the samples already
    trained on are not even loaded.

    Args:
        dataset: anything with a length.
        seed: of the permutations; None asks rank 0 for one.
        shuffle: False gives the order of the data set.
        uneven: what to do when the ranks do not divide the data set: ``"drop"`` leaves out the last
            ``len(dataset) % ranks`` of the permutation (others in every epoch), ``"pad"`` repeats its first
            ones.
    """

    def __init__(
        self, dataset: Sized, seed: int | None = 0, shuffle: bool = True, uneven: str = "drop"
    ) -> None:
        self.rank, self.ranks = get_dist_info()
        self.dataset = dataset
        self.seed = int(sync_random_seed() if seed is None else seed)
        self.shuffle = shuffle
        self.uneven = require_choice("uneven", uneven, ("drop", "pad"))
        self.epoch = 0
        self._skipped = 0
        if len(self) == 0:
            raise ValueError(
                f"a data set of {len(dataset)} samples leaves nothing for each of {self.ranks} ranks: "
                "use fewer processes or uneven='pad'"
            )

    def __len__(self) -> int:
        """Samples per rank of a whole epoch, whatever is skipped."""
        count = len(self.dataset)
        return -(-count // self.ranks) if self.uneven == "pad" else count // self.ranks

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose order the next pass has; forwarded to the data set where it wants to know."""
        self.epoch = epoch
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)

    def skip(self, samples: int) -> None:
        """Start the next pass (and only that one) after ``samples`` samples of this rank.

        A run that stopped after ``n`` batches of its epoch goes on with ``skip(n * batch_size)``.

        Raises:
            ValueError: more than the epoch holds.
        """
        if not 0 <= samples <= len(self):
            raise ValueError(f"cannot skip {samples} samples of an epoch of {len(self)} per rank")
        self._skipped = samples

    def __iter__(self) -> Iterator[int]:
        """Indices of this rank, in order, without the skipped ones."""
        skipped, self._skipped = self._skipped, 0
        return iter(self._order()[skipped:].tolist())

    def _order(self) -> np.ndarray:
        count = len(self.dataset)
        order = (
            np.random.default_rng((self.seed, self.epoch)).permutation(count)
            if self.shuffle
            else np.arange(count)
        )
        return np.resize(order, len(self) * self.ranks)[self.rank :: self.ranks]


@DATA_SAMPLERS.register_module()
class ExactEvalSampler(Sampler[int]):
    """Evaluation order: every sample exactly once over all ranks, none repeated to even out.

    Ranks may get unequal counts (even none), so whatever is collected has to be gathered by sample id.

    Args:
        dataset: anything with a length.
        seed: accepted because the runner passes one; the order is that of the data set.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        self.rank, self.ranks = get_dist_info()
        self.dataset = dataset

    def __len__(self) -> int:
        """Samples of this rank."""
        return len(range(self.rank, len(self.dataset), self.ranks))

    def __iter__(self) -> Iterator[int]:
        """Indices ``rank, rank + ranks, …``."""
        return iter(range(self.rank, len(self.dataset), self.ranks))
