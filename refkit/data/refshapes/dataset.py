"""RefShapes as data sets for training and evaluation: nothing on disk, every sample drawn when asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from tqdm import tqdm

from refkit.data.dataset import sample_from_record
from refkit.data.digest import RecordDigests
from refkit.data.pipeline import SampleDataset
from refkit.data.records import Record
from refkit.data.refshapes.expressions import KINDS
from refkit.data.refshapes.region_captions import (
    PER_SCENE,
    chosen_objects,
    describe_object,
    scene_facts,
)
from refkit.data.refshapes.scene import MAX_OBJECTS, MIN_OBJECTS
from refkit.data.refshapes.world import Situation, describe, imagine
from refkit.data.transforms.compose import Transform
from refkit.registry import DATASETS
from refkit.structures import Frame, ReferringSample


class _DrawnDataset(SampleDataset):
    """A range of scenes of one seed.

    Args:
        scenes: number of scenes.
        scene_seed: seed of the drawing; sets with different seeds share nothing.
        start: number of the first scene.
        size: side of the pictures in pixels.
        min_objects: of a scene.
        max_objects: of a scene.
        keep: drawn scenes to remember, about 40 kB each at 96 pixels; drawing one takes a millisecond.
        draw_ahead: draw the first ``keep`` scenes at once, before the first sample is asked for.
        pipeline: see `SampleDataset`.
        seed: of the pipeline.
    """

    tasks: tuple[str, ...] = ("rec", "res")
    kind = ""

    def __init__(
        self,
        scenes: int,
        scene_seed: int = 0,
        start: int = 0,
        size: int = 96,
        min_objects: int = MIN_OBJECTS,
        max_objects: int = MAX_OBJECTS,
        keep: int = 1,
        draw_ahead: bool = False,
        pipeline: Sequence[Transform | Mapping[str, Any]] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(pipeline, seed)
        if scenes < 1 or scene_seed < 0 or start < 0 or size < 16 or keep < 1:
            raise ValueError(
                "RefShapes: expected scenes >= 1, scene_seed >= 0, start >= 0, size >= 16 and keep >= 1"
            )
        if not MIN_OBJECTS <= min_objects <= max_objects <= MAX_OBJECTS:
            raise ValueError(
                f"RefShapes: expected {MIN_OBJECTS} <= min_objects <= max_objects <= {MAX_OBJECTS}, "
                f"got {min_objects} and {max_objects}"
            )
        self.scenes, self.scene_seed, self.start, self.size = scenes, scene_seed, start, size
        self.min_objects, self.max_objects = min_objects, max_objects
        self._keep = keep
        self._kept: OrderedDict[int, Situation] = OrderedDict()
        if draw_ahead:
            ahead = range(min(keep, scenes))
            for scene in tqdm(ahead, desc="RefShapes", unit="scene", delay=2.0, leave=False, disable=None):
                self.situation(scene)

    def situation(self, scene: int) -> Situation:
        """Scene number ``scene`` of this set, 0 … ``scenes - 1``; the last ones are remembered."""
        if scene not in self._kept:
            self._kept[scene] = imagine(
                self.scene_seed, self.start + scene, self.size, self.min_objects, self.max_objects
            )
            if len(self._kept) > self._keep:
                self._kept.popitem(last=False)
        return self._kept[scene]

    @property
    def metainfo(self) -> dict[str, Any]:
        """``name`` and how the set is drawn; ``digest`` of its records."""
        return {
            "records": "",
            "name": f"refshapes.seed{self.scene_seed}{self.kind}.{self.start}-{self.start + self.scenes}",
            "task": list(self.tasks),
            "digest": self.digests[0],
            "digest_masks": self.digests[1],
            "count": len(self),
            "complete": True,
        }

    @property
    def digests(self) -> tuple[str, str]:
        """Digests of the records that metrics read, without and with masks; empty where there are none."""
        return "", ""


class _RecordedDataset(_DrawnDataset):
    """A drawn set with records, the same number for every scene."""

    per_scene: int

    def __len__(self) -> int:
        return self.scenes * self.per_scene

    @abstractmethod
    def record(self, index: int) -> Record:
        """The record of sample ``index``."""

    @cached_property
    def digests(self) -> tuple[str, str]:
        """Digests of all records without and with masks, computed once."""
        both = RecordDigests()
        for index in tqdm(range(len(self)), "RefShapes digest", unit="record", delay=2.0, leave=False):
            both.add(self.record(index))
        return both.finish()


@DATASETS.register_module()
class RefShapesDataset(_RecordedDataset):
    """One sample per expression: five for each scene, one of every kind.

    Args:
        scenes: number of scenes.
        with_masks: samples carry their target's mask.
        **drawing: ``scene_seed`` (sets with different seeds share nothing), ``start`` (number of the first
            scene), ``size`` (side of the pictures in pixels), ``min_objects`` and ``max_objects`` of a scene,
            ``pipeline`` and ``seed`` of its randomness.
    """

    per_scene = len(KINDS)

    def __init__(self, scenes: int, with_masks: bool = False, **drawing: Any) -> None:
        super().__init__(scenes, **drawing)
        self.with_masks = with_masks

    def record(self, index: int) -> Record:
        """The record of sample ``index``, equal to what ``refkit data import refshapes`` writes."""
        scene, position = divmod(self._position(index), len(KINDS))
        return describe(self.situation(scene), self.scene_seed, position)

    def load(self, index: int) -> ReferringSample:
        """The drawn picture with one expression and its target."""
        record = self.record(index)
        image = self.situation(index // len(KINDS)).drawing.image
        return sample_from_record(record, image, self.with_masks)


@DATASETS.register_module()
class RefShapesObjects(_RecordedDataset):
    """One sample per object, three objects of each scene: what a model of regions learns and is asked.

    Records have captions as references (the place of the object, and where possible a neighbour's side of
    it), attributes as labels, the shape as category and words as tags; ``meta["scene"]`` and
    ``meta["object_index"]`` of a sample are what `check_caption` wants, ``meta["contrast_text"]`` is its
    caption without the place. Arguments are those of `RefShapesDataset`, ``with_masks`` apart.
    """

    per_scene = PER_SCENE
    tasks = ("caption", "attributes", "recognition")
    kind = "-objects"

    def record(self, index: int) -> Record:
        """The record of sample ``index``."""
        situation, chosen = self._chosen(index)
        return describe_object(situation, self.scene_seed, chosen)

    def load(self, index: int) -> ReferringSample:
        """The drawn picture with one object."""
        situation, chosen = self._chosen(index)
        record = describe_object(situation, self.scene_seed, chosen)
        sample = sample_from_record(record, situation.drawing.image)
        sample.meta |= {
            "scene": scene_facts(situation),
            "object_index": chosen,
            "contrast_text": situation.items[chosen].caption,
        }
        return sample

    def _chosen(self, index: int) -> tuple[Situation, int]:
        scene, place = divmod(self._position(index), self.per_scene)
        situation = self.situation(scene)
        return situation, chosen_objects(situation, self.scene_seed)[place]


@DATASETS.register_module()
class RefShapesRegions(_DrawnDataset):
    """One sample per scene, with every object's box and caption: for contrastive pre-training.

    ``meta["captions"]`` holds a text per box, every second one with the place of the object: what a tower
    has never had to tell apart, places for instance, no grounding model can read from its tokens. ``text``
    names the two largest objects.
    """

    def __len__(self) -> int:
        return self.scenes

    def load(self, index: int) -> ReferringSample:
        """The drawn picture with all its objects, from back to front."""
        situation = self.situation(index)
        captions = [item.caption for item in situation.items]
        largest = sorted(range(len(captions)), key=lambda place: -situation.items[place].radius)
        return ReferringSample(
            id=f"refshapes.seed{self.scene_seed}.{situation.index}",
            text=" and ".join(captions[place] for place in sorted(largest[:2])),
            frame=Frame.identity(self.size, self.size),
            image=situation.drawing.image,
            boxes=np.array(situation.drawing.boxes),
            categories=[item.shape for item in situation.items],
            meta={
                "captions": [
                    item.located_caption if place % 2 else item.caption
                    for place, item in enumerate(situation.items)
                ]
            },
        )
