"""What every data set shares: a pipeline, and randomness that depends on (seed, epoch, index) alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from refkit.data.transforms.compose import Compose, Transform
from refkit.structures import ReferringSample


class SampleDataset(Dataset[ReferringSample], ABC):
    """A map-style data set of `ReferringSample`; subclasses say how a sample is made, before any transform.

    Data sets that are evaluated on also have ``record(index) -> Record``, which metrics read.

    The epoch lives in shared memory, so that persistent workers see `set_epoch`. Call it between two passes
    over the loader (refkit's samplers do).

    Args:
        pipeline: transforms, as configs or callables.
        seed: of all randomness in the pipeline.
    """

    def __init__(self, pipeline: Sequence[Transform | Mapping[str, Any]] = (), seed: int = 0) -> None:
        if seed < 0:
            raise ValueError(f"seed={seed}: expected a number from 0 on")
        self.pipeline = Compose(pipeline)
        self.seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples of one epoch."""

    @abstractmethod
    def load(self, index: int) -> ReferringSample:
        """Sample ``index`` as annotated: identity frame, no transform; the same at every call."""

    @property
    @abstractmethod
    def metainfo(self) -> dict[str, Any]:
        """What metrics and prediction files need: at least ``name``, ``digest``, ``records``."""

    @property
    def image_keys(self) -> np.ndarray | None:
        """``(len,)`` int64 key of every sample's picture (see `record_file.image_key`), None if drawn."""
        return None

    @property
    def epoch(self) -> int:
        """The epoch that samples are drawn for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw the random numbers of ``epoch`` from now on, in workers too."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> ReferringSample:
        """Sample ``index`` after the pipeline.

        Raises:
            IndexError: outside ``[-len, len)``.
        """
        return self.draw(index)

    def draw(self, index: int, repetition: int = 0) -> ReferringSample:
        """Like indexing; ``repetition`` numbers further draws of one sample within an epoch."""
        index = self._position(index)
        key = (self.seed, self.epoch, index, repetition) if repetition else (self.seed, self.epoch, index)
        return self.pipeline(self.load(index), np.random.default_rng(key))

    def __iter__(self) -> Iterator[ReferringSample]:
        """All samples in order."""
        return (self[index] for index in range(len(self)))

    def _position(self, index: int) -> int:
        position = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= position < len(self):
            raise IndexError(f"index {index} is outside a data set of {len(self)} samples")
        return position
