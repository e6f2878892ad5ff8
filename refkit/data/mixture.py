"""Several data sets as one, without the pictures that any of them is evaluated on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from refkit.data.files import data_root as resolve_data_root
from refkit.data.image_sets import load_side
from refkit.data.pipeline import SampleDataset
from refkit.data.record_file import RecordFile, image_key
from refkit.data.schema import Header, ImageRef, Record
from refkit.registry import DATASETS
from refkit.structures import ReferringSample


@DATASETS.register_module()
class MixtureDataset(SampleDataset):
    """A mixture for training. Each member keeps its own pipeline and seed.

    RefCOCO, RefCOCO+ and RefCOCOg share pictures but divide them differently: of RefCOCO val, 61 % are
    training pictures of RefCOCOg. By default every picture that stands in one of ``evaluates_on`` is
    therefore removed from all members; ``exclude_evaluated=False`` restores the published habit of
    concatenating the training sets.

    Args:
        members: data sets or their configs.
        weights: passes over each member per epoch: 1 = every sample once, 2.5 = twice, and half of them a
            third time. Fractions walk through the member, so that after some epochs every sample came equally
            often.
        exclude_evaluated: remove evaluation pictures from training.
        evaluates_on: what models trained on this will be evaluated on (all members' evaluation splits):
            records files, or lists of image numbers as ``lists.json.gz:refcoco.unc.val+refcocog.umd.val``;
            ``[]`` if there are none. Relative paths start at the data root.
        data_root: by default the environment variable ``REFKIT_DATA``, else ``data``.
        seed: of the choice that fractional weights make.

    Attributes:
        removed: per member, ``{"name", "images", "samples"}`` that were removed.
    """

    def __init__(
        self,
        members: Sequence[SampleDataset | Mapping[str, Any]],
        weights: Sequence[float] | None = None,
        exclude_evaluated: bool = True,
        evaluates_on: Sequence[str | Path] | None = None,
        data_root: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        if not members:
            raise ValueError("members is empty: a mixture needs at least one data set")
        self.members = [DATASETS.build(dict(part)) if isinstance(part, Mapping) else part for part in members]
        if any(isinstance(member, MixtureDataset) for member in self.members):
            raise ValueError(
                "a mixture cannot be a member of a mixture: list all data sets as members of one"
            )
        self.weights = _checked_weights(weights, len(self.members))
        evaluated = _evaluated_keys(evaluates_on, resolve_data_root(data_root)) if exclude_evaluated else None
        self.removed: list[dict[str, Any]] = []
        self._kept = [self._keep(member, evaluated) for member in self.members]
        sizes = [round(weight * len(kept)) for weight, kept in zip(self.weights, self._kept, strict=True)]
        self._ends = np.cumsum(sizes)
        self._extra: tuple[int, dict[int, np.ndarray]] = (-1, {})
        if len(self) == 0:
            raise ValueError("no sample is left: all pictures are evaluated on, or the weights are too small")

    def __len__(self) -> int:
        return int(self._ends[-1])

    def set_epoch(self, epoch: int) -> None:
        """The epoch of this mixture and of all members."""
        super().set_epoch(epoch)
        for member in self.members:
            member.set_epoch(epoch)

    @property
    def metainfo(self) -> dict[str, Any]:
        """``name``, ``members`` (their metainfo), ``weights``, ``removed``."""
        members = [member.metainfo for member in self.members]
        return {
            "name": "+".join(str(member.get("name", "")) for member in members),
            "digest": "",
            "records": "",
            "members": members,
            "weights": list(self.weights),
            "removed": self.removed,
            "count": len(self),
        }

    def load(self, index: int) -> ReferringSample:
        """The sample behind ``index``, before its member's pipeline."""
        member, position, _ = self.place(index)
        return self.members[member].load(position)

    def draw(self, index: int, repetition: int = 0) -> ReferringSample:
        """The sample behind ``index`` after its member's pipeline; repetitions get other random numbers."""
        member, position, round_ = self.place(index)
        return self.members[member].draw(position, round_ + repetition)

    def place(self, index: int) -> tuple[int, int, int]:
        """``(member, position in it, repetition within this epoch)`` of sample ``index``."""
        index = self._position(index)
        member = int(np.searchsorted(self._ends, index, side="right"))
        offset = index - int(self._ends[member - 1] if member else 0)
        kept = self._kept[member]
        round_, position = divmod(offset, len(kept))
        whole = int((self._ends[member] - (self._ends[member - 1] if member else 0)) // len(kept))
        if round_ == whole:
            position = int(self._fraction(member)[position])
        return member, int(kept[position]), round_

    def _fraction(self, member: int) -> np.ndarray:
        """Positions that the incomplete last round of this epoch takes: a walk through permutations."""
        epoch, known = self._extra
        if epoch != self.epoch:
            self._extra = epoch, known = self.epoch, {}
        if member not in known:
            known[member] = self._walk(member, epoch)
        return known[member]

    def _walk(self, member: int, epoch: int) -> np.ndarray:
        count = len(self._kept[member])
        size = int(self._ends[member] - (self._ends[member - 1] if member else 0)) % count
        first, last = divmod(epoch * size, count), (epoch + 1) * size // count
        rounds = range(first[0], last + 1)
        stream = [np.random.default_rng((self.seed, member, number)).permutation(count) for number in rounds]
        return np.concatenate(stream)[first[1] : first[1] + size]

    def _keep(self, member: SampleDataset, evaluated: np.ndarray | None) -> np.ndarray:
        everything = np.arange(len(member), dtype=np.int64)
        keys = member.image_keys
        if evaluated is None or keys is None:
            return everything
        hit = np.isin(keys, evaluated)
        name = member.metainfo.get("name", type(member).__name__)
        images = len(np.unique(keys[hit]))
        self.removed.append({"name": name, "images": images, "samples": int(hit.sum())})
        print_log(f"mixture: {name}: removed {images} evaluation pictures ({hit.sum()} samples)", "current")
        return everything[~hit]


def _checked_weights(weights: Sequence[float] | None, count: int) -> list[float]:
    checked = [1.0] * count if weights is None else [float(weight) for weight in weights]
    if len(checked) != count or not all(0 <= weight < float("inf") for weight in checked):
        raise ValueError(f"weights={weights}: expected {count} numbers from 0 on, one per member")
    return checked


def _evaluated_keys(evaluates_on: Sequence[str | Path] | None, root: Path) -> np.ndarray:
    if evaluates_on is None:
        raise ValueError(
            "a mixture leaves out the pictures that its members are evaluated on: name the records files of "
            "those splits in evaluates_on ([] if there are none), or set exclude_evaluated=False to train on "
            "them as published work did"
        )
    keys = [_keys_of(str(root / item)) for item in evaluates_on]
    return np.unique(np.concatenate(keys)) if keys else np.zeros(0, np.int64)


def _keys_of(item: str) -> np.ndarray:
    """Keys of the pictures of a records file, or of chosen lists of image numbers."""
    if not re.search(r"\.json(\.gz)?:", item):
        return np.unique(RecordFile(item).image_keys)
    keys = []
    for side in load_side(item):
        header = Header(side.name.split(".")[0], "", "")
        for _, number in side.pictures:
            keys.append(image_key(header, Record("", ImageRef("", 1, 1, number))))
    return np.array(keys, np.int64)
