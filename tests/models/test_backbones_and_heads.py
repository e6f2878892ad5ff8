"""Every head on every source of features that offers the fields it needs: loss, backward, prediction.

Heads that read regions have one source, the region encoder: tests/models/test_dynrefer.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_models as tiny
import torch

from refkit.backbones import BEiT3Backbone, CLIPBackbone, GroundingEncoder
from refkit.registry import MODELS

ONE_WIDTH = {**tiny.SIZE, "embed": 48}
OPTIONS = {"MaskHead": {"target": "mask"}}
# These also need what was masked in the batch: tests/heads/test_mask_referring.py
MASKED = {"MaskedImageHead", "MaskedTextHead"}


class Fused(torch.nn.Module):
    """What HiVG's heads read."""

    def __init__(self):
        super().__init__()
        self.backbone = CLIPBackbone(ONE_WIDTH, visual_levels=(1, 3), pooled=True, similarity=True)
        self.encoder = GroundingEncoder(width=48, layers=1, heads=4, sizes=self.backbone.feature_sizes)

    def forward(self, inputs):
        return self.encoder(self.backbone(inputs))


SOURCES = {
    "CLIP": lambda: CLIPBackbone(ONE_WIDTH, pooled=True, similarity=True),
    "BEiT-3": lambda: BEiT3Backbone(tiny.BEIT3_SIZE, pad_id=0, drop_path=0.0),
    "BEiT-3 without projections": lambda: BEiT3Backbone(tiny.BEIT3_SIZE, pad_id=0, projections=False),
    "CLIP fused": Fused,
}


def heads():
    MODELS.import_from_location()
    needs = {name: getattr(cls, "needs", None) for name, cls in MODELS.module_dict.items() if from_heads(cls)}
    found = {name for name, fields in needs.items() if fields and "regions" not in fields}
    return sorted(found - MASKED)


def from_heads(cls):
    """Not all are heads: the language models of captions are built by name too."""
    return cls.__module__.startswith("refkit.heads.")


def samples():
    """With the filled target boxes as masks, on the canvas of 32 x 32."""
    result = []
    for sample in tiny.samples(3):
        left, top, right, bottom = sample.boxes[0].round().astype(int)
        mask = np.zeros((1, 32, 32), bool)
        mask[0, top:bottom, left:right] = True
        result.append(replace(sample, masks=mask))
    return result


@pytest.fixture(params=list(SOURCES))
def source(request):
    torch.manual_seed(0)
    return SOURCES[request.param]().eval()


@pytest.fixture(params=heads())
def head(request):
    torch.manual_seed(1)
    return MODELS.build({"type": request.param, "width": 48, **OPTIONS.get(request.param, {})})


def test_loss_backward_and_prediction(source, head):
    inputs, data_samples = tiny.inputs(3), samples()
    features = source(inputs)
    missing = [name for name in head.needs if getattr(features, name) is None]
    if missing:
        with pytest.raises(ValueError, match=f"needs.*({'|'.join(missing)}|pooled picture)"):
            head.loss(features, data_samples)
        return
    losses = head.loss(features, data_samples)
    assert losses and all(name.startswith("loss_") for name in losses)
    assert all(value.ndim == 0 and torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    assert [name for name, parameter in head.named_parameters() if parameter.grad is None] == []
    reached = [parameter for parameter in source.parameters() if parameter.grad is not None]
    assert any(parameter.grad.any() for parameter in reached)
    tensors = head.eval().tensors(source(inputs))
    assert tensors and all(torch.isfinite(value).all() for value in tensors.values())
    if head.answers:
        check_answers(head.predict(source(inputs), data_samples), data_samples)


def check_answers(predictions, data_samples):
    assert [prediction.id for prediction in predictions] == [sample.id for sample in data_samples]
    for prediction, sample in zip(predictions, data_samples, strict=True):
        width, height = sample.frame.original
        assert prediction.boxes is not None or prediction.mask["size"] == [height, width]
        if prediction.boxes is not None:
            left, top, right, bottom = prediction.boxes[0]
            assert 0 <= left <= right <= width and 0 <= top <= bottom <= height


def test_every_head_finds_a_source():
    """Else the test above would only look at refusals."""
    offered = {}
    for name, make in SOURCES.items():
        features = make()(tiny.inputs(2))
        offered[name] = {field for field in features.__slots__ if getattr(features, field) is not None}
    for name in heads():
        needs = set(MODELS.get(name).needs)
        assert any(needs <= fields for fields in offered.values()), name
    assert {"similarity", "visual_aligned", "text_aligned", "sentence"} <= offered["BEiT-3"]
