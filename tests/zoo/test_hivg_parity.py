"""Full-size HiVG-B with weights by name gives the outputs of the released code, for all five published layouts.

The references were made with the libraries the authors pinned. They are stored thinned out: every 30th token and
every 56th channel of hidden states, every fourth row and column of mask logits.
"""

import json
import re
from dataclasses import fields, replace
from functools import cached_property

import numpy as np
import pytest
import torch
from published_weights import GOLDEN, fill, manifest, published_state

from refkit.registry import MODELS
from refkit.structures import Frame, ReferringSample
from refkit.zoo.layouts import import_published
from refkit.zoo.layouts.hivg import RULES, unwrapped
from refkit.zoo.layouts.renaming import rename

pytestmark = pytest.mark.xdist_group("full-size")

FOLDER = GOLDEN / "hivg" / "parity"
VARIANTS = {
    "base": {},
    "base_refcoco": {"variant": "single"},
    "base_refcocoplus": {},
    "base_mixup": {"variant": "mixed"},
    "base_stage0": {"variant": "single"},
}
HIDDEN_STATE = re.compile(r"(vision|text)_hidden_\d+|text_projected")
HIDDEN = dict(rtol=1e-5, atol=1e-4)
OUTPUT = dict(rtol=0, atol=2e-5)
BOX = dict(rtol=0, atol=5e-6)


class Reference:
    """A variant's model, its inputs and its reference outputs."""

    def __init__(self, name):
        self.expected = np.load(FOLDER / f"{name}.npz")
        config, state = import_published(
            "hivg", published_state(f"hivg/parity/{name}_manifest.json.gz"), **VARIANTS[name]
        )
        with torch.device("meta"):
            self.model = MODELS.build(config["model"])
        self.model.load_state_dict(state, strict=True, assign=True)
        self.model.data_preprocessor = None  # built without memory; the inputs are tensors already
        for name_, buffer in list(self.model.named_buffers()):
            self._fill_buffer(name_, buffer)
        self.model.eval()
        stored = np.load(FOLDER / "inputs.npz")
        images = np.random.Generator(np.random.PCG64(0)).standard_normal((2, 3, 224, 224)).astype(np.float32)
        images[np.broadcast_to(stored["pad_mask"][:, None], images.shape)] = 0
        self.inputs = {
            "images": torch.from_numpy(images),
            "pad_mask": torch.from_numpy(stored["pad_mask"].astype(np.int32)),
            "token_ids": torch.from_numpy(stored["token_ids"].astype(np.int64)),
        }
        self.masks = torch.from_numpy(stored["target_masks"]).float()
        self.samples = [_sample(box) for box in stored["target_boxes"]]

    def _fill_buffer(self, name, buffer):
        owner = self.model.get_submodule(name.rpartition(".")[0])
        setattr(owner, name.rpartition(".")[2], torch.arange(buffer.shape[-1]).expand(buffer.shape))

    def mixing(self, published):
        self.model.backbone.bridges.published_batch_mixing = published

    @cached_property
    def apart(self):
        """Features and named tensors of both samples in one batch, kept apart."""
        return self._run(published_batch_mixing=False)

    @cached_property
    def mixed(self):
        """The same as the released code computes it."""
        return self._run(published_batch_mixing=True)

    @torch.no_grad()
    def _run(self, published_batch_mixing):
        self.mixing(published_batch_mixing)
        model, backbone = self.model, self.model.backbone
        levels = backbone.visual_levels
        backbone.visual_levels = backbone.text_levels = tuple(range(13))
        every = backbone({**self.inputs, "padding": self.inputs["pad_mask"]})
        backbone.visual_levels, backbone.text_levels = levels, ()
        features = replace(every, levels=tuple(every.levels[level] for level in levels))
        visual, text = model.encoder.project(features)
        sequence = model.encoder.fuse(
            model.encoder.start(visual, features), visual, text, model.encoder.key_mask(features)
        )
        return every, model.encoder.split(sequence, features)

    def hidden_states(self, case):
        """Names of all hidden states that the reference holds for a case."""
        names = {name.removeprefix(f"{case}.") for name in self.expected if name.startswith(f"{case}.")}
        return {name for name in names if HIDDEN_STATE.fullmatch(name)}

    def cases(self):
        """``(case, rows, features before, features after the encoder)``."""
        yield "solo0", slice(0, 1), *self.apart
        yield "solo1", slice(1, 2), *self.apart
        yield "pair", slice(0, 2), *self.mixed

    def check(self, case, name, value, **tolerance):
        expected = self.expected[f"{case}.{name}"]
        if name == "seg_logits":
            value = value[..., ::4, ::4]
        elif value.ndim == 3:
            value = value[:, ::30, ::56]
        np.testing.assert_allclose(value.numpy(), expected, err_msg=f"{case}.{name}", **tolerance)


def _sample(box):
    cx, cy, w, h = (224 * np.asarray(box, np.float64)).tolist()
    corners = np.array([[cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]], np.float32)
    return ReferringSample(id="x", text="x", frame=Frame.identity(224, 224), boxes=corners)


@pytest.fixture(scope="module", params=list(VARIANTS))
def reference(request):
    return Reference(request.param)


@torch.no_grad()
def test_outputs(reference):
    """Samples kept apart equal the reference of each alone, in one batch; the published mixing equals the pair."""
    for case, rows, _, fused in reference.cases():
        for head in reference.model.heads.values():
            for name, value in head.tensors(fused).items():
                chosen = value[rows, rows] if name == "logits_per_text" else value[rows]
                reference.check(case, name, chosen, **(BOX if "box" in name else OUTPUT))


@torch.no_grad()
def test_tensor_mode_takes_and_returns_the_names_of_the_pack(reference):
    """What enters and leaves the encoder; the projection of hidden states is as large as they are."""
    reference.mixing(True)
    named = reference.model(reference.inputs, mode="tensor")
    for name in ("pred_boxes", "box_logits", "rtcc_logits", "seg_logits", "logits_per_text", "encoder_out"):
        reference.check("pair", name, named[name], **(BOX if "box" in name else OUTPUT))
    for name in ("visual_tokens", "text_tokens"):
        reference.check("pair", name, named[name], **HIDDEN)
    for name in ("visual_token_mask", "text_token_mask"):
        reference.check("pair", name, named[name], rtol=0, atol=0)


@torch.no_grad()
def test_hidden_states(reference):
    """Blocks of both towers, bridges included, and the projected words."""
    for case, rows, features, _ in reference.cases():
        states = {f"vision_hidden_{i}": state for i, state in enumerate(features.levels)}
        states |= {f"text_hidden_{i}": state for i, state in enumerate(features.text_levels)}
        states["text_projected"] = features.text
        compared = [name for name in states if f"{case}.{name}" in reference.expected]
        assert set(compared) == reference.hidden_states(case)
        for name in compared:
            reference.check(case, name, states[name][rows], **HIDDEN)


@torch.no_grad()
def test_losses(reference):
    heads = reference.model.heads
    for case, rows, _, fused in reference.cases():
        losses = total_losses(heads, rows_of(fused, rows), reference.samples[rows], reference.masks[rows])
        for name, value in losses.items():
            reference.check(case, name, value.reshape(1), **OUTPUT)


def total_losses(heads, features, samples, masks):
    losses = {}
    for name in ("box", "contrast", "region_text"):
        losses |= heads[name].loss(features, samples)
    losses |= heads["mask"].losses(heads["mask"](features), masks)
    return {**losses, "loss_total": sum(losses.values())}


def rows_of(features, rows):
    """Some samples of a batch of two."""
    chosen = {}
    for field in fields(features):
        value = getattr(features, field.name)
        if isinstance(value, torch.Tensor) and value.ndim and len(value) == 2:
            chosen[field.name] = value[rows]
    return replace(features, **chosen)


@torch.no_grad()
def test_reading_the_region_token_alone_gives_the_same_boxes(reference):
    every, _ = reference.apart
    levels = reference.model.backbone.visual_levels
    features = replace(every, levels=tuple(every.levels[level] for level in levels))
    lean = reference.model.heads["box"](reference.model.encoder.read(features)).sigmoid()
    for case, row in (("solo0", 0), ("solo1", 1)):
        reference.check(case, "pred_boxes", lean[row : row + 1], **BOX)


@pytest.mark.parametrize("reference", ["base"], indirect=True, scope="module")
def test_gradients(reference):
    """Of the total loss of the pair, through merged adapters: ``dA = s B^T dW``, ``dB = s dW A^T``.

    Reference gradients exist for this layout only.
    """
    expected = json.loads((FOLDER / "base_gradients.json").read_text())
    reference.mixing(True)
    model = reference.model
    features = model.features({**reference.inputs, "padding": reference.inputs["pad_mask"]})
    total_losses(model.heads, features, reference.samples, reference.masks)["loss_total"].backward()
    compared = 0
    for name, numbers in expected.items():
        if name.startswith("_"):
            continue
        gradient = published_gradient(model, name)
        assert float(gradient.norm()) == pytest.approx(numbers["l2"], rel=1e-3), name
        assert float(gradient.abs().max()) == pytest.approx(numbers["max_abs"], rel=1e-3), name
        first = gradient.flatten()[: len(numbers["first"])].numpy()
        np.testing.assert_allclose(
            first, numbers["first"], rtol=1e-3, atol=1e-3 * numbers["max_abs"], err_msg=name
        )
        compared += 1
    assert compared == 21
    model.zero_grad(set_to_none=True)


def published_gradient(model, name):
    plain, _, side = unwrapped(name).partition(".lora_")
    if not side:
        return model.get_parameter(rename(plain, RULES)).grad
    weight = model.get_parameter(rename(f"{plain}.weight", RULES)).grad
    other = name.replace(".lora_A.", ".lora_B.") if side[0] == "A" else name.replace(".lora_B.", ".lora_A.")
    factor = fill(other, manifest("hivg/parity/base_manifest.json.gz")[other][0])
    return 0.5 * (factor.T @ weight if side[0] == "A" else weight @ factor.T)
