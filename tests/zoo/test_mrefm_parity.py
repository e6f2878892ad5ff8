"""Full-size MRefM (base) with weights by name: image step, text step and late text step of the released code.

Relation losses are on and the switches are the published ones. Codes are those of the reference; that the visual
tokenizer gives the same is shown in ``test_vqkd_parity.py``, so that one full-size model is in memory at a time.
References are thinned out: every third hidden patch, every fourth code, every eighth row of the published
``[:, ::64]`` of words, every sixth relation score.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published_weights import GOLDEN, published_state

from refkit.heads import SimilarityBoxHead
from refkit.heads.box import to_canvas_units
from refkit.heads.mask_referring import PatchTargets, WordTargets
from refkit.losses.mask_referring import masked_softmax, visual_relation
from refkit.registry import MODELS
from refkit.structures import Frame, ReferringSample
from refkit.zoo.layouts import import_published
from refkit.zoo.layouts.oneref import RULES
from refkit.zoo.layouts.renaming import rename

pytestmark = pytest.mark.xdist_group("full-size")

FOLDER = GOLDEN / "oneref"
SIDE, GRID = 384, (24, 24)
HIDDEN = 2e-5  # of the largest value
LOGITS = dict(rtol=0, atol=2e-5)
OUTPUT = dict(rtol=0, atol=5e-6)
LOSS = dict(rtol=1e-5, atol=1e-5)
LATE = 12000


@pytest.fixture(scope="module")
def reference():
    return np.load(FOLDER / "mrefm_base.npz")


@pytest.fixture(scope="module")
def stored():
    return np.load(FOLDER / "mrefm_base_inputs.npz")


@pytest.fixture(scope="module")
def inputs(stored):
    padding = np.unpackbits(stored["image_padding"], axis=-1)
    noise = np.random.Generator(np.random.PCG64(0)).standard_normal((2, 3, SIDE, SIDE)).astype(np.float32)
    names = ("token_ids", "token_padding", "masked_token_ids", "token_masked")
    return {
        "images": torch.from_numpy(noise * (1 - padding[:, None]).astype(np.float32)),
        "patch_masked": torch.from_numpy(np.unpackbits(stored["patch_masked"], axis=-1)),
        **{name: torch.from_numpy(stored[name]) for name in names},
    }


@pytest.fixture(scope="module")
def samples(stored):
    corners = []
    for cx, cy, w, h in (SIDE * stored["target_boxes"].astype(np.float64)).tolist():
        corners.append(np.array([[cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]], np.float32))
    return [ReferringSample("x", "x", Frame.identity(SIDE, SIDE), boxes=boxes) for boxes in corners]


@pytest.fixture(scope="module")
def state():
    return published_state("oneref/mrefm_base_manifest.json.gz")


@pytest.fixture(scope="module")
def model(state):
    config, weights = import_published("oneref", state)
    config = {name: value for name, value in config["model"].items() if name != "data_preprocessor"}
    with torch.device("meta"):
        model = MODELS.build({**config, "type": "MRefM", "relation_losses": "on"})
    model.load_state_dict(weights, strict=True, assign=True)
    model.data_preprocessor = None  # built without memory; the inputs are tensors already
    return model.eval()


@pytest.fixture(scope="module")
def image_step(model, inputs):
    with torch.no_grad():
        return model.features(model.hide(inputs, "patches"))


@pytest.fixture(scope="module")
def text_step(model, inputs):
    with torch.no_grad():
        return model.features(model.hide(inputs, "words"))


def close(ours, expected, name, **tolerance):
    np.testing.assert_allclose(np.asarray(ours), expected, err_msg=name, **tolerance)


@pytest.mark.parametrize("step", ["image_step", "text_step"])
def test_backbone(step, reference, request, model, inputs):
    features = request.getfixturevalue(step)
    close(features.similarity, reference[f"{step}_similarity"], "similarity", **OUTPUT)
    expected = reference[f"{step}_final_visual"]
    visual = features.visual[:, 23::24, ::24]  # the class token of the reference is not in `Features`
    close(visual, expected[:, 1:], "visual", rtol=0, atol=HIDDEN * abs(expected).max())
    real = (inputs["token_padding"] == 0)[:, ::3]
    expected = reference[f"{step}_final_text"][real]
    close(features.text[:, ::3, ::24][real], expected, "text", rtol=0, atol=HIDDEN * abs(expected).max())


@torch.no_grad()
def test_boxes_of_an_image_step(image_step, state, reference):
    """The untrained box head, which an import leaves out, on the features of a picture with hidden patches."""
    head = SimilarityBoxHead(width=768).eval()
    prefix = "heads.box."
    named = {rename(name, RULES): value for name, value in state.items()}
    head.load_state_dict({n.removeprefix(prefix): v for n, v in named.items() if n and n.startswith(prefix)})
    close(head(image_step).sigmoid(), reference["image_step_pred_boxes"], "pred_boxes", **OUTPUT)


@torch.no_grad()
def test_image_step_outputs(model, image_step, inputs, samples, reference):
    head, masked = model.heads["masked_image"], inputs["patch_masked"].bool()
    product = head.product(image_step)
    logits = head(product[masked])
    close(logits[::24, ::64], reference["mim_logits"], "mim_logits", **LOGITS)
    close(logits.logsumexp(dim=1), reference["mim_logsumexp"], "mim_logsumexp", **LOGITS)
    np.testing.assert_array_equal(logits.argmax(dim=1), reference["mim_argmax"])
    labels = torch.from_numpy(reference["vq_codes"].astype(np.int64))[masked]
    np.testing.assert_array_equal(labels, reference["mim_labels"])
    close(logits.gather(1, labels[:, None])[:, 0], reference["mim_label_logit"], "label", **LOGITS)
    close(head.relation(product)[:, ::6], reference["visual_relation_pred"], "relation", **LOGITS)
    target = visual_relation(to_canvas_units(samples), GRID)
    close(target[:, ::6], reference["visual_relation_target"], "target", rtol=0, atol=1e-6)


@torch.no_grad()
def test_image_step_losses(model, image_step, inputs, samples, reference):
    codes = torch.from_numpy(reference["vq_codes"].astype(np.int64))
    relation = visual_relation(to_canvas_units(samples), GRID)
    targets = PatchTargets(inputs["patch_masked"].bool(), codes, relation)
    losses = model.heads["masked_image"].loss(image_step, targets)
    losses |= model.heads["constraint"].loss(image_step, samples)
    compared = {name for name in losses if name.startswith("loss_")}
    assert {f"image_step_{name}" for name in compared} == {n for n in reference if "image_step_loss" in n}
    for name in compared:
        close(losses[name], reference[f"image_step_{name}"], name, **LOSS)


@torch.no_grad()
def test_text_step_outputs(model, text_step, inputs, reference):
    head, masked = model.heads["masked_text"], inputs["token_masked"].bool()
    logits = head(head.words(text_step)[masked])
    close(logits[:, ::512], reference["mlm_logits"], "mlm_logits", **LOGITS)
    close(logits.logsumexp(dim=1), reference["mlm_logsumexp"], "mlm_logsumexp", **LOGITS)
    np.testing.assert_array_equal(logits.argmax(dim=1), reference["mlm_argmax"])
    labels = inputs["token_ids"][masked]
    np.testing.assert_array_equal(labels, reference["mlm_labels"])
    close(logits.gather(1, labels[:, None])[:, 0], reference["mlm_label_logit"], "label", **LOGITS)
    scores = head.relation_logits(text_step)
    real = inputs["token_padding"][:, 1:-1] == 0
    close(scores[real], reference["semantic_relation_logits"][real], "semantic logits", **LOGITS)
    shares = masked_softmax(scores, torch.ones_like(real))
    close(shares[real], reference["semantic_relation_pred"][real], "semantic relation", **LOGITS)


@torch.no_grad()
@pytest.mark.parametrize(("step", "number"), [("text_step", 1), ("text_step_late", LATE + 1)])
def test_text_step_losses(model, text_step, inputs, samples, stored, reference, step, number):
    relation = torch.from_numpy(stored["semantic_relation_target"])
    targets = WordTargets(inputs["token_masked"].bool(), inputs["token_ids"], relation)
    losses = model.heads["masked_text"].loss(text_step, targets, number)
    losses |= model.heads["constraint"].loss(text_step, samples)
    compared = {name for name in losses if name.startswith("loss_")}
    assert {f"{step}_{name}" for name in compared} == {n for n in reference if f"{step}_loss" in n}
    for name in compared:
        close(losses[name], reference[f"{step}_{name}"], name, **LOSS)
    assert float(losses["mlm_accuracy"]) == float(reference["text_step_mlm_acc"])
