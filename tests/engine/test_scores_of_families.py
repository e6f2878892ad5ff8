"""``refkit test`` of every family says what ``refkit score`` says of the prediction file that it wrote."""

from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
import torch
from PIL import Image

from refkit.backbones import BEiT3Backbone
from refkit.backbones.tokenizer import WordTokenizer
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.data.transforms import RegionViews
from refkit.engine import ProtocolMetric, load_config
from refkit.engine.launch import test as evaluate_weights
from refkit.heads import BoxHead, CosineMaskHead, MaskHead, SimilarityBoxHead
from refkit.leaderboard.scoring import score
from refkit.models import OneRef
from refkit.registry import MODELS
from refkit.rle import encode

pytestmark = pytest.mark.usefixtures("module_without_java")

BEIT3 = dict(
    width=32,
    layers=2,
    heads=2,
    image_size=32,
    patch_size=8,
    vocab_size=12,
    context_length=8,
    text_positions=10,
)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Six pictures with two squares each, one meant; boxes and masks."""
    (tmp_path / "images").mkdir()
    records = []
    for index in range(6):
        pixels = np.full((40, 60, 3), 90, np.uint8)
        top, left = 2 * index, 4 if index % 2 else 34
        pixels[top : top + 20, 4:24] = pixels[top : top + 20, 34:54] = (230, 40, 40)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
        mask = np.zeros((40, 60), bool)
        mask[top : top + 20, left : left + 20] = True
        shape = ("circle", "square", "star")[index % 3]
        target = Target(box=(left, top, left + 20, top + 20), mask=encode(mask), category=shape)
        text = f"the {'left' if index % 2 else 'right'} red square"
        records.append(
            Record(
                f"q{index}",
                ImageRef(f"{index}.png", 60, 40),
                text,
                [target],
                references=[text, "a red square"],
                labels={"bright": index % 2, "dark": int(index < 2)},
                facts={"kind": text.split()[1]},
            )
        )
    tasks = ["rec", "res", "caption", "attributes", "recognition"]
    write_records(tmp_path / "squares.jsonl", Header("squares", "toy", "all", tasks), records)
    WordTokenizer.train(["the left right red square a dog circle"], tmp_path / "words.json", 8)
    monkeypatch.setenv("REFKIT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hivg(config):
    config.model.heads = dict(box=dict(type=BoxHead), mask=dict(type=MaskHead, target="mask"))


def oneref(config):
    config.model = dict(
        type=OneRef,
        data_preprocessor=config.model.data_preprocessor,
        backbone=dict(type=BEiT3Backbone, size=BEIT3, drop_path=0.0, pad_id=0),
        heads=dict(box=dict(type=SimilarityBoxHead), mask=dict(type=CosineMaskHead, steps=2)),
    )


def dynrefer(config):
    config.model = tiny.dynrefer_config(Path.cwd(), data_preprocessor=dict(type=ReferringPreprocessor))
    views = dict(type=RegionViews, views=2, side=32, selection=[0.0, 0.5])
    config.test_dataloader.dataset.update(pipeline=[views])


BOXES_AND_MASKS = {
    "rec/1": "rec",
    "rec/transvg": "rec/transvg",
    "res/1": "res",
    "res/padded-canvas": "res/padded-canvas",
}
WORDS = {
    "caption/region": "caption/region",
    "caption/expression": "caption/expression",
    "attributes/box": "attributes",
    "recognition/top1": "recognition/top1",
    "recognition/all": "recognition/all",
}
"""Protocols, and what the names of their metrics begin with in a run."""


@pytest.mark.parametrize(
    ("family", "prefixes", "positive"),
    [
        (hivg, BOXES_AND_MASKS, ["rec/miou", "res/miou"]),
        (oneref, BOXES_AND_MASKS, ["rec/miou", "res/miou"]),
        (dynrefer, WORDS, ["attributes/map", "recognition/all/ap"]),
    ],
)
def test_one_run_and_its_file_have_the_same_scores(data, family, prefixes, positive):
    config = load_config(Path(__file__).with_name("engine_hivg_config.py"))
    family(config)
    config.test_evaluator = dict(type=ProtocolMetric, protocol=list(prefixes), by="kind")
    torch.manual_seed(0)
    weights = data / "random.pth"
    torch.save({"state_dict": MODELS.build(config.model).state_dict()}, weights)
    metrics = evaluate_weights(config, weights, data / "run")
    file = data / "run/predictions/squares.toy.all.jsonl"
    for protocol, prefix in prefixes.items():
        result = score(data / "squares.jsonl", file, protocol, by="kind")
        first = next(iter(result.metrics))
        for name, cell in result.metrics.items():
            # Exactly equal, or undefined in both.
            np.testing.assert_equal(metrics[f"{prefix}/{name}"], cell.value, (protocol, name))
        for kind, cell in result.by["kind"].items():
            np.testing.assert_equal(metrics[f"{prefix}/{first}/{kind}"], cell.metrics[first].value)
        assert (result.answered, result.invalid) == (6, 0)
    assert all(metrics[name] > 0 for name in positive)
