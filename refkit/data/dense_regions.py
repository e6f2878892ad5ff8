"""The data set of dense captioning: records are pictures with many regions, samples are single regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from refkit.data.dataset import RecordSequence, ReferringDataset
from refkit.data.detections import DetectionError, Detections, read_detections
from refkit.data.files import data_root as resolve_data_root
from refkit.data.pipeline import SampleDataset
from refkit.data.transforms.compose import Transform
from refkit.registry import DATASETS
from refkit.structures import Prediction, ReferringSample

_NONE = Detections(np.zeros((0, 4)), np.zeros(0))


@DATASETS.register_module()
class DenseRegions(SampleDataset):
    """One sample per region of every picture: the annotated ones, or those that a detector found.

    Ids are ``<id of the picture's record>#<number of the region>``. Annotated regions bring their caption
    along as reference; detected ones their score, as ``meta["detection_score"]``.

    Args:
        records: a records file whose records are pictures (task ``densecap``), or an open one.
        detections: a file in COCO's results format, below the data root; its ``image_id`` is that of the
            records. Annotated boxes are used without it.
        least_score: detections below are left out.
        most: detections of a picture at most, the best ones.
        image_root: see `ReferringDataset`.
        data_root: see `ReferringDataset`.
        pipeline: transforms, as configs or callables.
        seed: of the randomness in the pipeline.

    Attributes:
        pictures: the data set of whole pictures, which dense captions are scored against.
    """

    def __init__(
        self,
        records: str | Path | RecordSequence,
        detections: str | Path | None = None,
        least_score: float = 0.0,
        most: int | None = None,
        image_root: str | Path | None = None,
        data_root: str | Path | None = None,
        pipeline: Sequence[Transform | Mapping[str, Any]] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(pipeline, seed)
        self.pictures = ReferringDataset(records, image_root, data_root)
        self._found: list[tuple[np.ndarray, np.ndarray]] | None = None
        if detections is not None:
            self._found = self._detected(resolve_data_root(data_root) / detections, least_score, most)
        counts = [self._count(picture) for picture in range(len(self.pictures))]
        self._ends = np.cumsum(counts)
        if not self._ends[-1]:
            raise ValueError(f"{self.pictures.metainfo['name']}: there is no region to describe")

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def metainfo(self) -> dict[str, Any]:
        """Those of the pictures; ``count`` is the number of regions."""
        return {**self.pictures.metainfo, "count": len(self)}

    @property
    def image_keys(self) -> np.ndarray | None:
        """See `SampleDataset.image_keys`."""
        keys = self.pictures.image_keys
        return None if keys is None else np.repeat(keys, np.diff(self._ends, prepend=0))

    def load(self, index: int) -> ReferringSample:
        """One region of its picture.

        Raises:
            ImageError: the picture is absent, unreadable or of another size.
        """
        picture, region = self._place(self._position(index))
        whole = self.pictures.load(picture)
        meta = {key: value for key, value in whole.meta.items() if key != "references"}
        if self._found is None:
            boxes, categories = whole.boxes[region : region + 1], whole.categories[region : region + 1]
            if len(whole.meta.get("references", ())) == len(whole.boxes):
                meta["references"] = [whole.meta["references"][region]]
        else:
            boxes = self._found[picture][0][region : region + 1].astype(np.float32)
            categories, meta["detection_score"] = [""], float(self._found[picture][1][region])
        name = f"{whole.id}#{region}"
        return replace(whole, id=name, text="", boxes=boxes, masks=None, categories=categories, meta=meta)

    def ids(self, picture: int) -> list[str]:
        """Ids of the regions of one of ``pictures``."""
        name = self.pictures.record(picture).id
        return [f"{name}#{region}" for region in range(self._count(picture))]

    def merge(self, picture: int, answers: Sequence[Prediction]) -> Prediction:
        """The answers to the regions of a picture as one: boxes, captions, and scores to rank them by.

        The score is the detector's where there was one, else that of the caption (published rule). A region
        about which nothing was written keeps its box, with an empty caption; without a detector it comes
        last.

        Args:
            picture: number among ``pictures``.
            answers: in the order of `ids`.
        """
        record = self.pictures.record(picture)
        if self._found is not None:
            boxes, scores = self._found[picture]
        else:
            boxes = np.array([target.box for target in record.targets], np.float64).reshape(-1, 4)
            scores = np.array([_caption_score(answer) for answer in answers])
        captions = [answer.caption or "" for answer in answers]
        return Prediction(record.id, boxes=boxes, scores=scores, captions=captions)

    def _count(self, picture: int) -> int:
        if self._found is not None:
            return len(self._found[picture][0])
        return len(self.pictures.record(picture).targets)

    def _place(self, index: int) -> tuple[int, int]:
        picture = int(np.searchsorted(self._ends, index, side="right"))
        return picture, index - int(self._ends[picture - 1] if picture else 0)

    def _detected(
        self, path: Path, least_score: float, most: int | None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Boxes and scores of every picture; pictures without any have none."""
        found = read_detections(path)
        rows, missing = [], 0
        for picture in range(len(self.pictures)):
            number = self.pictures.record(picture).image.id
            own = found.get(number, _NONE) if number is not None else _NONE
            missing += own is _NONE
            kept = own.best(least_score, most)
            rows.append((kept.boxes, kept.scores))
        if missing == len(rows):
            raise DetectionError(
                f"{path}: none of its image_id belongs to {self.pictures.metainfo['name']}; are they the "
                "numbers of the same data set?"
            )
        if missing:
            print_log(f"{path}: {missing} of {len(rows)} pictures have no detection", "current")
        return rows


def _caption_score(answer: Prediction) -> float:
    if answer.scores is None or answer.status != "ok" or not answer.caption:
        return 0.0
    return float(answer.scores[0])
