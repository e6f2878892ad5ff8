"""Full-size OneRef (base, boxes) with weights by name gives the outputs of the released code.

The references are stored thinned out: every 24th visual token, every third word and every 24th channel of hidden
states. Padded words are not compared: what the released code leaves there has no meaning.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published_weights import GOLDEN, fill, published_state

from refkit.backbones.beit3_weights import resize_positions
from refkit.data.collate import collate
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.data.transforms import Compose, Letterbox, TruncateBoxes
from refkit.heads import ContrastHead
from refkit.heads.region_text import box_map
from refkit.registry import MODELS
from refkit.structures import Frame, ReferringSample
from refkit.zoo.layouts import import_published
from refkit.zoo.layouts.oneref import RULES
from refkit.zoo.layouts.renaming import rename

pytestmark = pytest.mark.xdist_group("full-size")

FOLDER = GOLDEN / "oneref"
SIDE = 384
HIDDEN = 2e-5  # of the largest value
OUTPUT = dict(rtol=0, atol=5e-6)
LOSS = dict(rtol=1e-5, atol=1e-5)


def build(config, state):
    """The model of an imported config, its weights assigned, not copied."""
    with torch.device("meta"):
        model = MODELS.build(
            {name: value for name, value in config["model"].items() if name != "data_preprocessor"}
        )
    model.load_state_dict(state, strict=True, assign=True)
    model.data_preprocessor = None  # built without memory; the inputs are tensors already
    return model.eval()


def read_inputs(file):
    """The pack's inputs as the model takes them, and its samples."""
    stored = np.load(FOLDER / file)
    padding = np.unpackbits(stored["image_padding"], axis=-1)
    noise = np.random.Generator(np.random.PCG64(0)).standard_normal((2, 3, SIDE, SIDE)).astype(np.float32)
    images = noise * (1 - padding[:, None]).astype(np.float32)
    inputs = {
        "images": torch.from_numpy(images),
        "token_ids": torch.from_numpy(stored["token_ids"]),
        "token_padding": torch.from_numpy(stored["token_padding"]),
        "padding": torch.from_numpy(padding.astype(bool)),
    }
    return inputs, [_sample(box) for box in stored["target_boxes"]], stored


def _sample(box):
    cx, cy, w, h = (SIDE * np.asarray(box, np.float64)).tolist()
    corners = np.array([[cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]], np.float32)
    return ReferringSample("x", "x", Frame.identity(SIDE, SIDE), boxes=corners)


@pytest.fixture(scope="module")
def reference():
    return np.load(FOLDER / "rec_base.npz")


@pytest.fixture(scope="module")
def batch():
    return read_inputs("rec_base_inputs.npz")


@pytest.fixture(scope="module")
def model():
    config, state = import_published("oneref", published_state("oneref/rec_base_manifest.json.gz"))
    assert config["model"]["backbone"] == {"type": "BEiT3Backbone", "size": "base", "image_size": SIDE}
    return build(config, state)


def close(ours, expected, name, **tolerance):
    np.testing.assert_allclose(ours.detach().numpy(), expected, err_msg=name, **tolerance)


@pytest.fixture(scope="module")
def features(model, batch):
    """One pass for hidden states, losses and gradients; four levels are looked at."""
    model.backbone.visual_levels = model.backbone.text_levels = (0, 1, 6, 12)
    return model.features(batch[0])


def test_hidden_states_of_both_branches(features, reference):
    """The class token after the last norm is not in `Features`; its projection is compared below."""
    named = dict(zip(("embed", "layer1", "layer6", "layer12"), features.levels, strict=True))
    visual = {name: state[:, ::24, ::24] for name, state in named.items()}
    visual["final"] = features.visual[:, 23::24, ::24]
    named = dict(zip(named, features.text_levels, strict=True)) | {"final": features.text}
    assert len(named) == len(visual) == sum(name.endswith("_visual") for name in reference)
    real = features.text_mask[:, ::3].numpy()
    for name, state in named.items():
        expected = reference[f"{name}_visual"][:, -visual[name].shape[1] :]
        close(visual[name], expected, name, rtol=0, atol=HIDDEN * abs(expected).max())
        expected = reference[f"{name}_text"][real]
        close(state[:, ::3, ::24][real], expected, name, rtol=0, atol=HIDDEN * abs(expected).max())


@torch.no_grad()
def test_tensor_mode_takes_and_returns_the_names_of_the_pack(model, batch, reference):
    named = model(batch[0], mode="tensor")
    for name in (
        "language_cls",
        "vision_cls",
        "similarity",
        "token_weights",
        "pred_boxes",
        "box_logits",
        "pooled",
    ):
        close(named[name], reference[name], name, **OUTPUT)


@torch.no_grad()
def test_padding_is_found_in_the_ids_and_trimming_is_exact(model, batch, reference):
    inputs = {name: batch[0][name][:1] for name in ("images", "token_ids")}
    assert (inputs["token_ids"][0, 5:] == 1).all()
    named = model({**inputs, "token_ids": inputs["token_ids"][:, :5]})
    for name in ("similarity", "pred_boxes"):
        close(named[name], reference[name][:1], name, **OUTPUT)


def test_losses_and_gradient_norms(model, batch, features, reference):
    samples = batch[1]
    losses = {
        name: value for head in model.heads.values() for name, value in head.loss(features, samples).items()
    }
    # Averaged over the batch already, the released code divides it by the batch size once more.
    contrast = ContrastHead(width=768, weight=1 / len(samples)).loss(features, samples)["loss_contrastive"]
    for name, value in {**losses, "loss_contrastive": contrast, "loss_total": sum(losses.values())}.items():
        close(value, reference[name], name, **LOSS)
    assert sum(name.startswith("loss_") for name in reference) == 6
    sum(losses.values()).backward()
    norms = dict(zip(reference["grad_norm_names"], reference["grad_norms"], strict=True))
    assert len(norms) == 18
    for name, expected in norms.items():
        gradient = model.get_parameter(rename(name.decode(), RULES)).grad
        assert float(gradient.double().norm()) == pytest.approx(expected, rel=1e-4), name
    model.zero_grad(set_to_none=True)


def test_patches_of_the_constraint_are_those_of_the_down_sampled_mask(batch):
    """Nearest-neighbour down-sampling of the pack's box masks, against the rule that needs no mask."""
    _, samples, stored = batch
    masks = np.unpackbits(stored["box_mask"], axis=-1)[:, 0, ::16, ::16]
    np.testing.assert_array_equal(box_map(samples, (24, 24), 0.0), masks.reshape(2, -1))


def test_position_table_of_224_pixels_for_384():
    name = "beit3.encoder.embed_positions.A.weight"
    resized = resize_positions(fill(name, (199, 768)).half(), (24, 24))
    expected = np.load(FOLDER / "position_resize.npz")["resized"]
    np.testing.assert_allclose(resized[:, ::8][:, ::6].numpy(), expected, rtol=0, atol=1e-6)
    assert resized.dtype == torch.float32


@pytest.mark.shared
@pytest.mark.parametrize("number", range(3))
def test_evaluation_preprocessing(shared, number):
    pack = np.load(shared / "parity" / "oneref" / "preprocess_eval.npz")
    source = pack[f"img{number}_source"]
    x, y, width, height = pack[f"img{number}_box_xywh"]
    boxes = np.array([[x, y, x + width, y + height]], np.float32)
    frame = Frame.identity(source.shape[1], source.shape[0])
    sample = ReferringSample("x", "x", frame, source, boxes)
    sample = Compose([TruncateBoxes(), Letterbox(SIDE)])(sample, np.random.default_rng(0))
    inputs = ReferringPreprocessor()(collate([sample]))["inputs"]
    np.testing.assert_allclose(
        inputs["images"][0, :, ::6, ::6], pack[f"img{number}_tensor"], rtol=0, atol=1e-6
    )
    padding = np.unpackbits(pack[f"img{number}_padding_packed"], axis=-1)
    np.testing.assert_array_equal(inputs["padding"][0], padding)
    left, top, right, bottom = sample.boxes[0] / SIDE
    centre = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    np.testing.assert_allclose(centre, pack[f"img{number}_box_cxcywh"], rtol=0, atol=1e-6)
