"""A small real records file and answers to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.leaderboard.predictions import PredictionHeader
from refkit.structures import Prediction

KINDS = ("attribute", "position", "relation")


@dataclass
class Scene:
    """Records in memory and on disk, and predictions that hit some of them."""

    header: Header
    records: list[Record]
    path: Path
    answering: PredictionHeader
    predictions: dict[str, Prediction]


def make_records(count: int, images: int) -> list[Record]:
    rng = np.random.default_rng(7)
    corners = rng.uniform(0, 100, (count, 2)).round(2)
    sides = rng.uniform(20, 60, (count, 2)).round(2)
    boxes = np.concatenate((corners, corners + sides), axis=1).round(2).tolist()
    return [
        Record(
            id=f"toy.{index}",
            image=ImageRef(f"{index % images:04d}.jpg", 200, 160),
            text=f"thing {index}",
            targets=[Target(box=tuple(box), category=("dog", "person")[index % 2])],
            facts={"kind": KINDS[index % 3], "objects": [box, [0.0, 0.0, 30.0, 30.0]]},
        )
        for index, box in enumerate(boxes)
    ]


def make_predictions(records: list[Record]) -> dict[str, Prediction]:
    """float32 boxes as a model gives them, jittered around the truth."""
    rng = np.random.default_rng(8)
    predictions = {}
    for record in records:
        jitter = rng.normal(0, 8, (1, 4)).astype(np.float32)
        boxes = np.asarray(record.targets[0].box, np.float32)[None] + jitter
        scores = rng.random(1).astype(np.float32)
        predictions[record.id] = Prediction(record.id, boxes=boxes, scores=scores)
    return predictions


@pytest.fixture
def scene(tmp_path) -> Scene:
    records = make_records(60, 20)
    path = tmp_path / "toy.jsonl.gz"
    header = write_records(path, Header("toy", "synthetic", "val"), records)
    answering = PredictionHeader.answering(header, "jitter", settings={"resolution": 64})
    return Scene(header, records, path, answering, make_predictions(records))
