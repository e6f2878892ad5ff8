"""A leaderboard folder with real prediction files on drawn records, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from refkit.data.records import Header, Record, read_records, write_records
from refkit.data.sources.refshapes import read
from refkit.data.sources.spec import Skips
from refkit.leaderboard.entries.add import MethodCard, add_predictions
from refkit.leaderboard.predictions import PredictionHeader, write_predictions
from refkit.structures import Prediction


def write_refshapes(path: Path, seed: int = 1, scenes: int = 12) -> Header:
    part = read([], Skips(), seed=seed, scenes=scenes)[0]
    return write_records(path, part.header, part.records)


def write_answers(records_path: Path, out: Path, noise: float, model: str = "wobble") -> Path:
    header, records = read_records(records_path)
    rng = np.random.default_rng(3)
    write_predictions(
        out, PredictionHeader.answering(header, model), (_answer(record, rng, noise) for record in records)
    )
    return out


def _answer(record: Record, rng: np.random.Generator, noise: float) -> Prediction:
    boxes = np.asarray([record.targets[0].box]) + rng.normal(0, noise, (1, 4))
    return Prediction(record.id, boxes=boxes, scores=rng.random(1))


def add_wobble(folder: Path, tmp_path: Path, noise: float, method: str = "Wobble", **card):
    records = tmp_path / "refshapes.seed1.val.jsonl"
    if not records.exists():
        write_refshapes(records)
    answers = write_answers(records, tmp_path / f"{noise}.predictions.jsonl", noise)
    return add_predictions(
        folder, records, answers, MethodCard(method, **{"setting": "single_dataset", **card}), draws=200
    )
