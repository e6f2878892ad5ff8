"""Full-size OneRef (base, masks) with weights by name gives the outputs of the released code, and its evaluation.

The references are stored thinned out: every 24th channel and every 4th, 8th or 16th row and column of the maps,
every third of the logits. Losses, binary masks, intersections and unions are of whole maps.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published_weights import GOLDEN, published_state
from pycocotools import mask as coco
from test_oneref_parity import HIDDEN, LOSS, SIDE, build, close, read_inputs

from refkit.data.records import ImageRef, Record, Target
from refkit.data.transforms import Letterbox
from refkit.heads import CosineMaskHead
from refkit.metrics.protocol import get_protocol
from refkit.metrics.res import padded
from refkit.rle import decode, encode
from refkit.structures import Features, Frame, Prediction, ReferringSample
from refkit.zoo.layouts import import_published

pytestmark = pytest.mark.xdist_group("full-size")

OUTPUT = dict(rtol=0, atol=2e-5)


@pytest.fixture(scope="module")
def reference():
    return np.load(GOLDEN / "oneref" / "res_base.npz")


@pytest.fixture(scope="module")
def batch():
    inputs, samples, stored = read_inputs("res_base_inputs.npz")
    masks = np.unpackbits(stored["target_mask"], axis=-1).astype(bool)
    for sample, mask in zip(samples, masks, strict=True):
        sample.masks = mask
    return inputs, samples


@pytest.fixture(scope="module")
def model():
    config, state = import_published("oneref", published_state("oneref/res_base_manifest.json.gz"))
    assert list(config["model"]["heads"]) == ["mask"]
    return build(config, state)


@pytest.fixture(scope="module")
def features(model, batch):
    with torch.no_grad():
        return model.features(batch[0])


@pytest.fixture(scope="module")
def logits(model, features):
    with torch.no_grad():
        return model.heads["mask"](features)


def as_map(tokens, steps):
    """Tokens ``(B, 576 * 4 ** steps, C)`` in the head's order as ``(B, C, 24 * 2 ** steps, …)``."""
    batch, _, channels = tokens.shape
    parts = tokens.reshape(batch, 24, 24, *(2,) * (2 * steps), channels)
    rows = (1, *range(3, 3 + 2 * steps, 2))
    columns = (2, *range(4, 4 + 2 * steps, 2))
    side = 24 << steps
    return parts.permute(0, parts.ndim - 1, *rows, *columns).reshape(batch, channels, side, side)


@torch.no_grad()
def test_every_step_of_the_head(model, features, reference):
    head, tokens = model.heads["mask"], features.visual
    expected = reference["final_visual"][:, 1:]
    close(tokens[:, 23::24, ::24], expected, "final", rtol=0, atol=HIDDEN * abs(expected).max())
    close(features.similarity, reference["similarity"], "similarity", rtol=0, atol=5e-6)
    divided = head.convolutions[0](tokens.transpose(1, 2).unflatten(2, (24, 24)))
    named = {"deconv1": divided[:, ::24, ::4, ::4]}
    for step in range(3):
        tokens = head.upsample(tokens, step)
        stride = 4 << step
        named[f"upsample{step + 1}"] = as_map(tokens, step + 1)[:, ::24, ::stride, ::stride]
        tokens = tokens.relu()
    for name, value in named.items():
        expected = reference[name]
        close(value, expected, name, rtol=0, atol=HIDDEN * abs(expected).max())


@torch.no_grad()
def test_tensor_mode_returns_the_mask_logits_of_the_pack(model, batch, reference):
    named = model(batch[0], mode="tensor")
    assert named["mask_logits"].shape == (2, 1, 192, 192)
    close(named["mask_logits"][..., ::3, ::3], reference["mask_logits"], "mask_logits", **OUTPUT)


@torch.no_grad()
def test_losses(model, features, batch, reference):
    losses = model.heads["mask"].loss(features, batch[1])
    for name, value in {**losses, "loss_total": sum(losses.values())}.items():
        close(value, reference[name], name, **LOSS)
    assert len(losses) == 2


def published_answers(features, samples):
    """Binary masks of the canvas by the released rule, as predictions hold them."""
    head = CosineMaskHead(width=768, mask_rule="published", metric_resolution="canvas")
    masks = head.masks(features, [sample.frame for sample in samples])
    return [Prediction(f"s{index}", mask=encode(mask.numpy())) for index, mask in enumerate(masks)]


def test_masks_and_areas_of_the_released_evaluation(logits, batch, reference):
    """Areas are counted by the protocol, from answers at the resolution of the canvas."""
    answers = published_answers(logits, batch[1])
    binary = np.unpackbits(reference["mask_binary_packed"], axis=-1)[:, 0]
    records = []
    for index, sample in enumerate(batch[1]):
        np.testing.assert_array_equal(decode(answers[index].mask), binary[index])
        image = ImageRef(f"{index}.jpg", SIDE, SIDE)
        records.append(Record(f"s{index}", image, "x", [Target(mask=encode(sample.masks[0]))]))
    evaluation = get_protocol("res/padded-canvas").evaluate(zip(records, answers, strict=True))
    rows = evaluation.per_sample
    np.testing.assert_array_equal(rows["intersection"], reference["mask_intersection"])
    np.testing.assert_array_equal(rows["union"], reference["mask_union"])
    np.testing.assert_allclose(rows["iou"], reference["mask_iou"], rtol=1e-6)


@pytest.mark.shared
@pytest.mark.parametrize("number", range(3))
def test_masks_of_boxes_and_polygons_on_the_canvas(shared, number):
    """The evaluation transform and the canvas of the metric put annotated masks where the released code does."""
    pack = np.load(shared / "parity" / "oneref" / "preprocess_eval.npz")
    source = pack[f"img{number}_source"]
    height, width = source.shape[:2]
    for name, shape in (("poly", pack[f"img{number}_polygon"]), ("box", pack[f"img{number}_box_xywh"])):
        runs = coco.frPyObjects([shape.tolist()] if name == "poly" else shape[None], height, width)
        mask = coco.decode(coco.merge(runs)).astype(bool)
        sample = ReferringSample("x", "x", Frame.identity(width, height), source, masks=mask[None])
        canvas = Letterbox(SIDE)(sample, np.random.default_rng(0)).masks
        expected = np.unpackbits(pack[f"img{number}_{name}_mask_packed"], axis=-1).astype(bool)
        np.testing.assert_array_equal(canvas, expected)
        np.testing.assert_array_equal(padded(mask), expected[0])
        np.testing.assert_array_equal(decode(encode(canvas[0])), expected[0])


def test_features_alone_are_enough(logits, features, model):
    """The head reads patches and sentence of any backbone."""
    alone = Features(features.visual, features.visual_mask, features.grid, sentence=features.sentence)
    with torch.no_grad():
        torch.testing.assert_close(model.heads["mask"](alone), logits)
