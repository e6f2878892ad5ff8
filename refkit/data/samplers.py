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
        samples: of an epoch, over all ranks; None = the whole data set. Epochs of another length follow each
            other through permutation after permutation, so that all samples come equally often.
        together: so many neighbours of the data set (the sentences of a picture) stay side by side, on one
            rank; it divides the data set, and ``samples``.
    """

    def __init__(
        self,
        dataset: Sized,
        seed: int | None = 0,
        shuffle: bool = True,
        uneven: str = "drop",
        samples: int | None = None,
        together: int = 1,
    ) -> None:
        self.rank, self.ranks = get_dist_info()
        self.dataset = dataset
        if samples is not None and samples < 1:
            raise ValueError(f"an epoch has at least one sample, got samples={samples}")
        self.samples = len(dataset) if samples is None else samples
        self.together = together
        if together < 1 or len(dataset) % together or self.samples % together:
            raise ValueError(
                f"together={together} does not divide {len(dataset)} samples into epochs of {self.samples}"
            )
        self.seed = int(sync_random_seed() if seed is None else seed)
        self.shuffle = shuffle
        self.uneven = require_choice("uneven", uneven, ("drop", "pad"))
        self.epoch = 0
        self._skipped = 0
        if len(self) == 0 or len(dataset) == 0:
            raise ValueError(
                f"an epoch of {self.samples} samples out of {len(dataset)} leaves nothing for each of "
                f"{self.ranks} ranks: use fewer processes or uneven='pad'"
            )

    def __len__(self) -> int:
        """Samples per rank of a whole epoch, whatever is skipped."""
        groups = self.samples // self.together
        return self.together * (-(-groups // self.ranks) if self.uneven == "pad" else groups // self.ranks)

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
        count, first = len(self.dataset), self.epoch * self.samples
        passes = range(first // count, (first + self.samples - 1) // count + 1)
        stream = np.concatenate([self._pass(number) for number in passes])
        epoch = stream[first % count :][: self.samples]
        dealt = np.resize(epoch, len(self) * self.ranks).reshape(-1, self.together)
        return dealt[self.rank :: self.ranks].reshape(-1)

    def _pass(self, number: int) -> np.ndarray:
        """All samples once, in the order of pass ``number`` through the data set."""
        count = len(self.dataset)
        if not self.shuffle:
            return np.arange(count)
        groups = np.random.default_rng((self.seed, number)).permutation(count // self.together)
        return (groups[:, None] * self.together + np.arange(self.together)).reshape(-1)


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
