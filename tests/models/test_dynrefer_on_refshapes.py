"""From drawn objects to scores: views, captions with control words, losses, answers, metrics."""

from __future__ import annotations

import pytest
import tiny_models as tiny
import torch

from refkit.backbones import CLIPTextEncoder, WordTokenizer
from refkit.data.collate import collate
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.data.refshapes.dataset import RefShapesObjects
from refkit.data.refshapes.region_captions import TAGS
from refkit.data.refshapes.scene import COLOURS, FILLS, SHAPES, SIZES
from refkit.engine import ProtocolMetric, SceneCaptionMetric
from refkit.engine.metrics import EvaluationContext

PLACES = ("a", "an", "top", "upper", "middle", "lower", "bottom", "far", "left", "right", "of", "the")
ATTRIBUTES = {
    **{f"colour:{name}": [name] for name in COLOURS},
    **{f"fill:{name}": [name] for name in FILLS},
    **{f"size:{name}": [name] for name in SIZES},
}
MORE = ("above", "below", "solid")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    words = list(dict.fromkeys([*TAGS, *PLACES, *MORE]))
    tokenizer = WordTokenizer.train(words, folder / "refshapes.json", tiny.SIZE["context_length"])
    size = {**tiny.SIZE, "vocab_size": tokenizer.vocab_size}
    config = tiny.dynrefer_config(
        folder,
        data_preprocessor={"type": ReferringPreprocessor},
        text_encoder={"type": CLIPTextEncoder, "size": size, "tokenizer": tokenizer},
    )
    config["heads"]["tag"]["tags"] = list(TAGS)
    config["heads"]["contrast"] |= {"attributes": ATTRIBUTES, "categories": list(SHAPES)}
    return tiny.build(config)


def objects(*transforms, selection="random"):
    views = dict(type="RegionViews", views=2, side=32, selection=selection)
    return RefShapesObjects(scenes=4, size=48, pipeline=[*transforms, views])


def test_every_head_learns_from_drawn_objects(model):
    data = objects(dict(type="RegionCaption"))
    batch = model.data_preprocessor(collate([data[index] for index in range(6)], share=True), True)
    assert batch["inputs"]["views"].is_floating_point()
    losses = model(**batch, mode="loss")
    assert set(losses) == {"loss_caption", "loss_tag", "loss_contrast"}
    sum(losses.values()).backward()
    for name in ("caption", "tag", "contrast"):
        gradients = [p.grad for p in model.heads[name].parameters() if p.requires_grad]
        assert any(g is not None and g.abs().sum() > 0 for g in gradients), name


def test_views_stacked_once_give_the_same_answers(model):
    model.eval()
    data = objects(selection=[0, 1])
    samples = [data[index] for index in range(6)]
    plain, shared = (model.data_preprocessor(collate(samples, share=share), False) for share in (False, True))
    assert len(shared["inputs"]["views"]) < 12
    with torch.no_grad():
        wanted, found = (model(**batch, mode="tensor") for batch in (plain, shared))
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=1e-4)


def test_answers_are_scored_by_every_metric(model, tmp_path):
    model.eval()
    data = objects(selection="image_prior")
    batch = model.data_preprocessor(collate([data[index] for index in range(len(data))], share=True), False)
    answers = model(**batch, mode="predict")
    protocols = ProtocolMetric(protocol=("attributes/box", "recognition/top1"), write=False)
    protocols.use_context(EvaluationContext(data, str(tmp_path), "DynRefer", "float32"))
    captions = SceneCaptionMetric()
    for metric in (protocols, captions):
        metric.process(batch, answers)
    found = protocols.evaluate(len(data)) | captions.evaluate(len(data))
    assert 0 <= found["attributes/map"] <= 1
    assert found["attributes/invalid"] == 0
    assert found["scene_caption/silent"] <= 1
    scored = ("recognition/top1", "recognition/ap", "scene_caption/all", "scene_caption/shape")
    assert all(0 <= found[name] <= 1 for name in scored), found
