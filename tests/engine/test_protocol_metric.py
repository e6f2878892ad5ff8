"""Boxes and masks of one model in one evaluation: the numbers of ``refkit score``, and memory that does not grow."""

from __future__ import annotations

import json
import os
import tracemalloc

import numpy as np
import pytest

from refkit.data.digest import RecordDigests
from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.engine.answer_spool import AnswerSpool
from refkit.engine.metrics import EvaluationContext, EvaluationError, ProtocolMetric
from refkit.leaderboard.predictions import read_predictions
from refkit.leaderboard.schema import as_written
from refkit.leaderboard.scoring import score
from refkit.metrics.protocol import ProtocolError
from refkit.rle import encode
from refkit.structures import Prediction

HEIGHT, WIDTH = 96, 128


def noise(seed, scale=8):
    """A ragged mask ``(96, 128)`` bool; the seed decides which."""
    coarse = np.random.default_rng(seed).random((HEIGHT // scale, WIDTH // scale)) > 0.5
    return coarse.repeat(scale, 0).repeat(scale, 1)


class Pictures:
    """``count`` records with ragged masks, made when they are asked for."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    @property
    def metainfo(self):
        digests = RecordDigests()
        for index in range(self.count):
            digests.add(self.record(index))
        plain, masks = digests.finish()
        return {"name": "ragged.toy.all", "digest": plain, "digest_masks": masks}

    def record(self, index):
        target = Target((8.0, 8.0, 72.0, 56.0), encode(noise(index)))
        kind = {"kind": "even" if index % 2 == 0 else "odd"}
        return Record(f"r{index}", ImageRef(f"{index}.png", WIDTH, HEIGHT), "it", [target], facts=kind)

    def answer(self, index):
        """A shifted box and another mask; every seventh answer has no mask, every fifth an empty one."""
        mask = None if index % 7 == 3 else encode(noise(index) & noise(index + 1000) & (index % 5 > 0))
        box = np.array([[8 + index % 3, 8, 72, 56 - index / 7]])
        return Prediction(f"r{index}", boxes=box, mask=mask)


def evaluated(pictures, work_dir, **settings):
    metric = ProtocolMetric(**settings)
    metric.use_context(EvaluationContext(pictures, str(work_dir), "Model", "float32"))
    for start in range(0, len(pictures), 4):
        batch = range(start, min(start + 4, len(pictures)))
        metric.process({"data_samples": batch}, [pictures.answer(index) for index in batch])
    return metric.evaluate(len(pictures))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    pictures = Pictures(23)
    records = [pictures.record(index) for index in range(23)]
    write_records(folder / "ragged.jsonl", Header("ragged", "toy", "all", ["rec", "res"]), records)
    return folder, evaluated(pictures, folder, protocol=("rec/1", "res/1", "res/padded-canvas"), by="kind")


@pytest.mark.parametrize(
    ("protocol", "prefix"), [("rec/1", "rec"), ("res/1", "res"), ("res/padded-canvas", "res/padded-canvas")]
)
def test_one_evaluation_gives_what_score_says_of_its_file(both, protocol, prefix):
    folder, metrics = both
    result = score(folder / "ragged.jsonl", folder / "predictions/ragged.toy.all.jsonl", protocol, by="kind")
    for name, cell in result.metrics.items():
        assert metrics[f"{prefix}/{name}"] == cell.value, name
    first = next(iter(result.metrics))
    for kind, cell in result.by["kind"].items():
        assert metrics[f"{prefix}/{first}/{kind}"] == cell.metrics[first].value
    assert metrics[f"{prefix}/invalid"] == pytest.approx(0 if protocol == "rec/1" else 3 / 23)
    assert 0 < metrics["res/oiou"] < 1 and 0 < metrics["rec/acc50"] <= 1


def test_answers_come_back_as_from_a_file(both):
    folder, _ = both
    _, stored = read_predictions(folder / "predictions/ragged.toy.all.jsonl")
    spool = AnswerSpool()
    for index in range(23):
        spool.add(Pictures(23).answer(index))
    assert len(spool) == 23 and list(spool) == list(stored)
    for index, key in enumerate(spool):
        wanted = as_written(Pictures(23).answer(index))
        for one in (spool[key], stored[key]):
            assert one.mask == wanted.mask and one.boxes.tolist() == wanted.boxes.tolist()
    with pytest.raises(KeyError):
        spool["foreign"]


def test_memory_does_not_grow_with_the_masks(tmp_path):
    """What stays of a sample is an id and a few numbers: far less than its mask, in the file or decoded."""

    def peak(count):
        tracemalloc.start()
        evaluated(Pictures(count), tmp_path, protocol="res/1", write=False)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(8)  # imports and caches
    few, many = peak(50), peak(350)
    text_of_a_mask = len(encode(noise(0))["counts"])
    assert (many - few) / 300 < 0.5 * text_of_a_mask < 600


def test_prefixes_stay_apart():
    with pytest.raises(ValueError, match="expected different protocols"):
        ProtocolMetric(("rec/1", "rec/1"))
    with pytest.raises(ValueError, match="a prefix for one alone"):
        ProtocolMetric(("rec/1", "res/1"), prefix="both")
    with pytest.raises(ValueError, match="expected different protocols"):
        ProtocolMetric(())
    with pytest.raises(ProtocolError, match="res/2"):
        ProtocolMetric(("rec/1", "res/2"))


def share_of_a_process(rank, folder):
    """Process ``rank`` of two answers every second batch of four and evaluates with the other one."""
    from torch import distributed

    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    pictures = Pictures(23)
    metric = ProtocolMetric(("rec/1", "res/1"), by="kind")
    metric.use_context(EvaluationContext(pictures, str(folder / f"rank{rank}"), "Model", "float32"))
    for start in range(4 * rank, 23, 8):
        batch = range(start, min(start + 4, 23))
        metric.process({"data_samples": batch}, [pictures.answer(index) for index in batch])
    (folder / f"metrics{rank}.json").write_text(json.dumps(metric.evaluate(23)))
    metric.process({"data_samples": [0]}, [pictures.answer(rank // 2)])  # both processes answer the same
    try:
        metric.evaluate(23)
    except EvaluationError as error:
        (folder / "complaint.txt").write_text(str(error))
        os._exit(0)
    distributed.destroy_process_group()


def test_two_processes_say_the_same_as_one(both, runs, tmp_path):
    processes = [
        runs.context.Process(target=share_of_a_process, args=(rank, tmp_path), daemon=True) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    processes[0].join(60)
    assert processes[0].exitcode == 0
    processes[1].kill()  # it waits for an answer of the first one, which complained
    complaint = (tmp_path / "complaint.txt").read_text()
    assert "1 predicted more than once (such as 'r0')" in complaint and "22 not predicted" in complaint
    told = [json.loads((tmp_path / f"metrics{rank}.json").read_text()) for rank in (0, 1)]
    assert told[0] == told[1]
    assert {name: both[1][name] for name in told[0]} == told[0]
    files = [folder / "predictions/ragged.toy.all.jsonl" for folder in (tmp_path / "rank0", both[0])]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not (tmp_path / "rank1").exists()
