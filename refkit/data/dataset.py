"""The data set of annotated pictures: one sample per record of a `refkit.records/1` file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mmengine.logging import print_log
from tqdm import tqdm

from refkit import rle
from refkit.data.arguments import require_choice
from refkit.data.collate import collate
from refkit.data.files import data_root as resolve_data_root
from refkit.data.images import find_image, load_image
from refkit.data.pipeline import SampleDataset
from refkit.data.record_file import RecordFile, image_key
from refkit.data.schema import Header, Record
from refkit.data.transforms.compose import Transform
from refkit.data.transforms.primitives import DegenerateBoxError, check_boxes
from refkit.registry import DATASETS
from refkit.structures import Frame, ReferringSample

__all__ = ["MissingMaskError", "RecordSequence", "ReferringDataset", "collate", "sample_from_record"]

_NO_MASK = "without mask"


class MissingMaskError(ValueError):
    """A task of masks was given targets that have none."""


class RecordSequence(Protocol):
    """Records by position, with their header: `RecordFile`, or a like in memory."""

    @property
    def header(self) -> Header:
        """Name, task and digests."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Record: ...


@DATASETS.register_module()
class ReferringDataset(SampleDataset):
    """Records → pictures → samples → pipeline.

    Worker processes share the text of the records file through a memory map. Relative paths start at the data
    root.

    Args:
        records: a records file (.jsonl, .jsonl.gz), or an open `RecordFile`.
        image_root: folder of the pictures; by default the one that the header names.
        data_root: by default the environment variable ``REFKIT_DATA``, else ``data``.
        pipeline: transforms, as configs or callables.
        seed: of the randomness in the pipeline; sample ``i`` of epoch ``e`` uses ``default_rng((seed, e,
            i))``.
        with_masks: decode masks as well. A target without a box then gets the bounds of its mask.
        without_mask: with ``with_masks``, whether to ``"refuse"`` the data set because of targets without a
            mask (all records are looked at first), or to ``"exclude"`` their records (counted and logged).
        no_target: ``"keep"`` expressions that mean nothing in the picture (samples with ``K = 0``), or
            ``"skip"`` them (counted and logged): a model that always points at something cannot learn from
            them.
        indices: use these records only, in this order.
        max_records: use the first ones only.
        keep_images: how many decoded pictures every process keeps, those used last. One is enough where the
            expressions of a picture follow each other; a small set that is shuffled may be kept whole.

    Attributes:
        records: the open records.
        skipped: how many records were left out, by reason.
    """

    def __init__(
        self,
        records: str | Path | RecordSequence,
        image_root: str | Path | None = None,
        data_root: str | Path | None = None,
        pipeline: Sequence[Transform | Mapping[str, Any]] = (),
        seed: int = 0,
        with_masks: bool = False,
        without_mask: str = "refuse",
        no_target: str = "keep",
        indices: Sequence[int] | None = None,
        max_records: int | None = None,
        keep_images: int = 1,
    ) -> None:
        super().__init__(pipeline, seed)
        root = resolve_data_root(data_root)
        self.records = RecordFile(root / records) if isinstance(records, (str, Path)) else records
        self.image_root = root / (self.records.header.image_root if image_root is None else image_root)
        self.with_masks = with_masks
        self.skipped: dict[str, int] = {}
        self._unmasked = ""
        if keep_images < 1:
            raise ValueError(f"keep_images={keep_images}: expected at least 1")
        self.keep_images = keep_images
        self._images: OrderedDict[tuple[str, int, int], np.ndarray] = OrderedDict()
        chosen = _chosen(len(self.records), indices, max_records)
        refuse = require_choice("without_mask", without_mask, ("refuse", "exclude")) == "refuse"
        only_targets = require_choice("no_target", no_target, ("keep", "skip")) == "skip"
        self._chosen = self._select(chosen, with_masks, only_targets)
        if refuse and (lacking := self.skipped.get(_NO_MASK)):
            raise MissingMaskError(
                f"{self.path or self.records.header.name}: {lacking} of {len(chosen)} records have a target "
                f"without a mask, the first is {self._unmasked!r}; set without_mask='exclude' to leave them "
                "out, or with_masks=False if nothing learns from masks"
            )
        if len(self._chosen) == 0:
            raise ValueError(f"{self.path or self.records.header.name}: no record is left{self._reasons()}")

    def __len__(self) -> int:
        return len(self._chosen)

    @property
    def path(self) -> str:
        """The records file, empty for records in memory."""
        return str(getattr(self.records, "path", ""))

    @property
    def metainfo(self) -> dict[str, Any]:
        """Which records these are: for metrics, prediction files and logs.

        ``records`` path, ``name``, ``digest`` and ``digest_masks`` of the whole file, ``count`` of the
        samples used, ``complete`` (False for a subset), ``skipped`` by reason, ``image_root``.
        """
        header = self.records.header
        return {
            "records": self.path,
            "name": header.name,
            "task": list(header.task),
            "digest": header.digest,
            "digest_masks": header.digest_masks,
            "count": len(self),
            "complete": len(self) == len(self.records),
            "skipped": dict(self.skipped),
            "image_root": str(self.image_root),
        }

    @property
    def image_keys(self) -> np.ndarray:
        """``(len,)`` int64 key of every sample's picture, equal for one picture across files."""
        if isinstance(self.records, RecordFile):
            return self.records.image_keys[self._chosen]
        header = self.records.header
        return np.array([image_key(header, self.records[int(index)]) for index in self._chosen], np.int64)

    def record(self, index: int) -> Record:
        """The record of sample ``index``."""
        return self.records[int(self._chosen[self._position(index)])]

    def load(self, index: int) -> ReferringSample:
        """Sample ``index`` as annotated, in pixels of the original image.

        Raises:
            ImageError: its picture is absent, unreadable or of another size.
            ValueError: a box has no area, or something that is needed is not annotated; the record is named.
        """
        record = self.record(index)
        return sample_from_record(record, self._image(record), self.with_masks)

    def _image(self, record: Record) -> np.ndarray:
        """The picture of a record, read-only; the ``keep_images`` used last are kept."""
        file, width, height = wanted = record.image.file, record.image.width, record.image.height
        if wanted not in self._images:
            path = find_image(self.image_root, file, record.id)
            self._images[wanted] = load_image(path, record.id, (width, height))
        self._images.move_to_end(wanted)
        if len(self._images) > self.keep_images:
            self._images.popitem(last=False)
        return self._images[wanted]

    def _select(self, chosen: np.ndarray, only_masks: bool, only_targets: bool) -> np.ndarray:
        if not (only_masks or only_targets):
            return chosen
        kept = []
        for index in tqdm(
            chosen.tolist(), desc=f"select {self.records.header.name}", unit="record", delay=1.0
        ):
            targets = self.records[index].targets
            if only_targets and not targets:
                self._skip("without target")
            elif only_masks and any(target.mask is None for target in targets):
                self._unmasked = self._unmasked or self.records[index].id
                self._skip(_NO_MASK)
            else:
                kept.append(index)
        if self.skipped:
            print_log(f"{self.records.header.name}: {len(kept)} records used{self._reasons()}", "current")
        return np.asarray(kept, np.int64)

    def _skip(self, reason: str) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def _reasons(self) -> str:
        counts = ", ".join(f"{count} {reason}" for reason, count in self.skipped.items())
        return f" (left out: {counts})" if counts else ""


def sample_from_record(record: Record, image: np.ndarray, with_masks: bool = False) -> ReferringSample:
    """A sample with identity frame from a record and its picture.

    Args:
        record: valid, with boxes (or masks, if these are decoded).
        image: ``(H, W, 3)`` uint8 RGB of the original size.
        with_masks: decode the masks; every target then needs one.

    Raises:
        ValueError: a target lacks what is needed, or its box has no area.
    """
    height, width = image.shape[:2]
    masks = _masks(record, height, width) if with_masks else None
    boxes = np.array([_box(record, index) for index in range(len(record.targets))], np.float32).reshape(-1, 4)
    sample = ReferringSample(
        id=record.id,
        text=record.text or "",
        frame=Frame.identity(width, height),
        image=image,
        boxes=boxes,
        masks=masks,
        categories=[target.category or "" for target in record.targets],
        meta=_meta(record),
    )
    try:
        return check_boxes(sample, "the annotation")
    except DegenerateBoxError as error:
        raise DegenerateBoxError(f"{error}. `refkit data check` lists all such records") from None


def _box(record: Record, index: int) -> tuple[float, float, float, float]:
    target = record.targets[index]
    box = target.box
    if box is None and target.mask is not None:
        box = rle.bounds(target.mask)
    if box is None:
        raise ValueError(f"record {record.id}: target {index} has neither a box nor a mask with pixels")
    return box


def _masks(record: Record, height: int, width: int) -> np.ndarray:
    masks = np.zeros((len(record.targets), height, width), bool)
    for index, target in enumerate(record.targets):
        if target.mask is None:
            raise MissingMaskError(
                f"record {record.id}: target {index} has no mask; import the set with masks, or take "
                "with_masks=False"
            )
        masks[index] = rle.decode(target.mask)
    return masks


def _meta(record: Record) -> dict[str, Any]:
    facts = record.facts or {}
    found = {
        "image_id": record.image.id,
        "file": record.image.file,
        "object": record.object,
        "kind": facts.get("kind"),
        "roles": facts.get("roles"),
        "history": facts.get("history"),
        "phrases": facts.get("phrases"),
        "tags": facts.get("tags"),
        "any": any(target.any for target in record.targets) or None,
        "references": record.references,
        "labels": record.labels,
        "ignore": record.ignore,
    }
    return {key: value for key, value in found.items() if value is not None}


def _chosen(count: int, indices: Sequence[int] | None, max_records: int | None) -> np.ndarray:
    if indices is not None:
        chosen = np.asarray(indices)
        if chosen.size and (chosen.dtype.kind not in "iu" or chosen.min() < 0 or chosen.max() >= count):
            raise ValueError(f"indices must be whole numbers from 0 to {count - 1}")
        chosen = chosen.astype(np.int64)
    else:
        chosen = np.arange(count, dtype=np.int64)
    if max_records is not None and max_records < 1:
        raise ValueError(f"max_records={max_records}: expected a positive number or None")
    return chosen[:max_records]
