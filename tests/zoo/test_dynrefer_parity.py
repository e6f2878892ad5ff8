"""The published DynRefer layout computes what the released code computes (reduced depth, true widths)."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from published_weights import GOLDEN, fill, manifest

from refkit.backbones.clip_weights import to_transformers_layout
from refkit.backbones.region import RegionEncoder
from refkit.backbones.region_align import deformable_sampling
from refkit.backbones.state import load_strictly
from refkit.backbones.text_encoder import CLIPTextEncoder
from refkit.heads import CaptionHead, RegionContrastHead, TagHead
from refkit.losses.recognition import asymmetric, pairwise_sigmoid
from refkit.models.dynrefer import TASKS, DynRefer
from refkit.structures import Features, Frame, ReferringSample
from refkit.zoo.layouts.dynrefer import RULES
from refkit.zoo.layouts.renaming import published_name

FOLDER = GOLDEN / "dynrefer"
TOWER = {"type": "EVATower", "layers": 2}
EXACT = {"rtol": 0, "atol": 2e-5}
LOOSE = {"rtol": 0, "atol": 1e-4}

pytestmark = [pytest.mark.xdist_group("full-size"), pytest.mark.filterwarnings("ignore::UserWarning")]


def pack(name):
    return np.load(FOLDER / f"{name}.npz")


def normal(name, *shape):
    """Inputs of the pack: about N(0, 1), made from their name."""
    return fill(f"inputs.{name}", shape) * float(np.sqrt(np.prod(shape[1:])))


def close(ours, expected, name="", **tolerance):
    np.testing.assert_allclose(ours.detach().numpy(), expected, err_msg=name, **(tolerance or EXACT))


def statistics(tensor):
    values = tensor.detach().double()
    return [float(f) for f in (values.mean(), values.std(unbiased=False), values.abs().sum(), values.norm())]


def filled(module, prefix):
    """``module`` with the values of its published names; ``prefix`` is where it stands in the model."""
    state = module.state_dict()
    named = {name: fill(published_name(prefix + name, RULES), value.shape) for name, value in state.items()}
    module.load_state_dict(named)
    return module.eval()


@pytest.fixture(scope="module")
def encoder():
    return filled(RegionEncoder(TOWER), "backbone.")


@torch.no_grad()
def test_vision_tower_and_its_norm(encoder):
    expected = pack("vit_reduced")
    raw = encoder.tower(normal("images", 6, 3, 224, 224))
    close(raw[:, ::16, ::44], expected["raw_probe"])
    np.testing.assert_allclose(statistics(raw)[1:], expected["raw_stat"][1:], rtol=1e-5)
    normed = encoder.norm(raw)
    close(normed[:, ::16, ::44], expected["ln_probe"])
    np.testing.assert_allclose(normed.flatten(1).double().norm(dim=1), expected["per_image_l2"], rtol=1e-5)


def test_roi_align_is_not_shifted_by_half_a_pixel():
    from torchvision.ops import roi_align

    expected = pack("roi_align")
    boxes = torch.from_numpy(expected["boxes"])
    cells = roi_align(normal("roi_feat", 3, 4, 16, 16), boxes, (16, 16), 1 / 14, 2, aligned=False)
    close(cells, expected["out"])


def test_deformable_sampling():
    value = normal("dcn_value", 1, 16, 16, 64).permute(0, 3, 1, 2)
    sampled = deformable_sampling(value, 1.5 * normal("dcn_offset_mask", 1, 16, 16, 112), groups=4)
    close(sampled.permute(0, 2, 3, 1), pack("deform_op")["out"], **LOOSE)


@torch.no_grad()
def test_align_module(encoder):
    expected = pack("align_module")
    reference, view = normal("align_ref", 2, 1408, 16, 16), normal("align_tgt", 2, 1408, 16, 16)
    close(encoder.align.offsets(reference, view)[:, ::2, ::2], expected["offset_mask"], **LOOSE)
    value = encoder.align.value_proj(view.movedim(1, -1))
    close(value[:, ::4, ::4, ::11], expected["value_probe"], **LOOSE)
    close(encoder.align(reference, view)[:, ::11], expected["out_probe"], **LOOSE)


@torch.no_grad()
def test_alignment_and_fusion_of_views(encoder):
    expected = pack("align_fusion")
    tokens = normal("view_embeds", 6, 257, 1408).unflatten(0, (2, 3))
    regions = torch.from_numpy(expected["region_boxes"])
    cells = encoder.align_views(tokens, regions).flatten(0, 1).flatten(2).transpose(1, 2)
    aligned = torch.cat((tokens.flatten(0, 1)[:, :1], cells), dim=1)
    close(aligned[:, ::8, ::22], expected["aligned_probe"], **LOOSE)
    close(encoder.fuse(tokens, regions)[:, :, ::16], expected["fused_probe"], **LOOSE)


@torch.no_grad()
def test_qformer(encoder):
    expected = pack("qformer")
    states = encoder.qformer.hidden_states(normal("visual_embeds", 2, 257, 1408))
    close(states[-1], expected["last_hidden"])
    np.testing.assert_allclose([float(s.double().norm()) for s in states], expected["hidden_l2"], rtol=1e-5)


def features(regions, sentence=None):
    nothing = torch.zeros(len(regions), 0, 1)
    return Features(nothing, nothing[..., 0].bool(), (0, 0), regions=regions, sentence=sentence)


def sample(tags=()):
    box = np.array([[1, 2, 3, 4]], np.float32)
    return ReferringSample("x", "", Frame.identity(10, 10), boxes=box, meta={"tags": list(tags)})


@pytest.fixture(scope="module")
def tag_head():
    head = filled(TagHead(width=768, tags=[f"tag {index}" for index in range(4585)]), "heads.tag.")
    head.vocabularies["tags"].fill(fill("clip_embeds", (4585, 1024)))
    return head


@pytest.fixture(scope="module")
def contrast_head():
    listed = json.loads((FOLDER / "prompts.json").read_text())
    attributes = {entry["name"]: entry["prompts"] for entry in listed["attribute_prompts"]}
    categories = {text.removeprefix("the "): [text] for text in listed["category_prompts"]}
    head = RegionContrastHead(width=768, attributes=attributes, categories=categories)
    head = filled(head, "heads.contrast.")
    head.vocabularies["attributes"].fill(fill("att_embeds", (474, 1024)))
    head.vocabularies["categories"].fill(fill("ov_embeds", (80, 1024)))
    return head


@torch.no_grad()
def test_tags(tag_head):
    expected = pack("tag")
    seen = features(normal("region_tokens", 3, 32, 768))
    logits = tag_head.scores(seen, "tags")
    close(logits, expected["logits"])
    told = tag_head.predict(seen, [sample()] * 3)
    for answer, row in zip(told, expected["logits"], strict=True):
        right = np.flatnonzero(1 / (1 + np.exp(-row)) > 0.7)
        assert list(answer.tags) == [f"tag {index}" for index in right]
    tagged = (expected["tag_set1"] | expected["tag_set2"]).astype(bool)
    samples = [sample(f"tag {index}" for index in np.flatnonzero(row)) for row in tagged]
    loss = tag_head.loss(seen, samples)["loss_tag"]
    np.testing.assert_allclose(float(loss), expected["weighted_loss"], rtol=1e-5)
    np.testing.assert_allclose(float(loss) / 0.01, expected["unweighted_loss"], rtol=1e-5)


def test_asymmetric_loss_and_its_gradient():
    expected = pack("asymmetric_loss")
    targets = torch.from_numpy(expected["targets"])
    for negative, positive, clip, value, size, first, later in expected["table"]:
        logits = (3 * normal("asl_logits", 4, 50)).requires_grad_()
        loss = asymmetric(logits, targets, negative, positive, clip)
        loss.backward()
        np.testing.assert_allclose(float(loss), value, rtol=1e-5)
        np.testing.assert_allclose(float(logits.grad.abs().sum()), size, rtol=1e-5)
        found = [float(logits.grad[0, 0]), float(logits.grad[2, 17])]
        np.testing.assert_allclose(found, [first, later], rtol=1e-4, atol=1e-8)


@torch.no_grad()
def test_region_text_contrast(contrast_head):
    expected = pack("rtc")
    regions, texts = normal("region_tokens_rtc", 5, 32, 768), normal("caption_text", 5, 1024)
    scores = contrast_head(features(regions), texts)
    close(scores, expected["sim_region_by_text"], atol=2e-6, rtol=0)
    close(scores.T, expected["sim_text_by_region"], atol=2e-6, rtol=0)
    starts = {"filled": None, "at_init": (math.log(10), -10.0)}
    before = contrast_head.temperature.clone(), contrast_head.bias.clone()
    close(before[0], expected["attr_t"])
    for name, start in starts.items():
        if start is not None:
            contrast_head.temperature.fill_(start[0])
            contrast_head.bias.fill_(start[1])
        loss = contrast_head.loss(features(regions, texts), [sample()] * 5)["loss_contrast"]
        np.testing.assert_allclose(float(loss), expected[f"loss_{name}"], rtol=2e-6)
    second = contrast_head.logits(scores[:4, :4])
    sides = pairwise_sigmoid(second[2:], first=2), pairwise_sigmoid(second.T[2:], first=2)
    np.testing.assert_allclose(0.5 * float(sum(sides)) / 2, expected["loss_rank1_of_2_at_init"], rtol=2e-6)
    contrast_head.temperature.copy_(before[0])
    contrast_head.bias.copy_(before[1])


@torch.no_grad()
def test_attributes_and_categories(contrast_head):
    answers = contrast_head.predict(features(normal("region_tokens", 3, 32, 768)), [sample()] * 3)
    tight = {"rtol": 0, "atol": 2e-6}
    attributes = torch.tensor([list(answer.attributes.values()) for answer in answers])
    close(attributes, pack("attributes")["attr_scores"], **tight)
    categories = torch.tensor([list(answer.categories.values()) for answer in answers])
    close(categories, pack("categories")["logits"], **tight)


@torch.no_grad()
def test_text_tower():
    expected = pack("clip_text_reduced")
    size = {
        "embed": 1024,
        "image_size": 224,
        "patch_size": 14,
        "vision": {"width": 1408, "layers": 1, "heads": 16, "feedforward": 6144},
        "text": {"width": 768, "layers": 2, "heads": 12},
        "activation": "gelu",
    }
    tower = CLIPTextEncoder(size, {"type": "CLIPTokenizer"})
    state = {name: fill(f"text_encoder.{name}", shape) for name, shape in text_shapes(layers=2).items()}
    kept = to_transformers_layout({**state, "visual.conv1.weight": torch.zeros(1)}, "pack")
    kept = {name: value for name, value in kept.items() if not name.startswith(("vision_model", "logit"))}
    load_strictly(tower, kept, "pack")
    ids = torch.from_numpy(expected["token_ids"].astype(np.int64))
    close(tower(ids), expected["embeds"])
    texts = json.loads((FOLDER / "clip_text_strings.json").read_text())
    worded = [row for row, text in enumerate(texts) if text]
    assert torch.equal(tower.tokenizer([texts[row] for row in worded]), ids[worded])


class FakeWords:
    """The pack's texts are names of rows of ids; its sentences are ids joined by spaces."""

    pad_id, eos_id, bos_id = 0, 1, None

    def __init__(self, rows):
        self.rows = rows

    def encode(self, texts, limit, begin, end, keep="start"):
        rows = [self.rows[text] for text in texts]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        return ids, (ids != 0).long()

    def decode(self, rows):
        ended = [row[: row.index(1)] if 1 in row else row for row in rows]
        return [" ".join(map(str, row)) for row in ended]


CONTROLS = ("c0", "c1", "c2")


@pytest.fixture(scope="module")
def generated():
    return json.loads((FOLDER / "llm_generate.json").read_text())


@pytest.fixture(scope="module")
def caption_head(generated):
    size = {name: generated["t5_config"][name] for name in T5_FIELDS}
    words = FakeWords({**generated["control_ids"], "|": [60, 1]})
    head = CaptionHead(width=768, language_model={"type": "T5Writer", "size": size}, tokenizer=words)
    return filled(head, "heads.caption.")


T5_FIELDS = ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers", "num_heads")


def test_words_are_tied_and_the_output_layer_is_not(caption_head):
    model = caption_head.language_model.model
    assert model.encoder.embed_tokens.weight is model.shared.weight
    assert model.decoder.embed_tokens.weight is model.shared.weight
    assert model.lm_head.weight is not model.shared.weight
    assert not model.config.scale_decoder_outputs and model.config.dense_act_fn == "gelu"
    assert not any("embed_tokens" in name for name in caption_head.state_dict())


@torch.no_grad()
def test_language_model_loss(caption_head):
    expected = pack("llm_loss")
    regions = normal("region_tokens_llm", 3, 32, 768)
    controls = caption_head.tokenizer.encode(CONTROLS, 32, False, True)
    prefix, mask = caption_head.prefix(regions, *controls)
    close(prefix, expected["inputs_embeds"], **LOOSE)
    np.testing.assert_array_equal(mask, expected["encoder_mask"])
    captions = caption_head.tokenizer.encode(("o0", "o1", "o2"), 32, False, True)
    logits = caption_head.language_model.logits(prefix, mask, *captions)
    close(logits, expected["decoder_logits"], **LOOSE)
    close(caption_head.language_model.loss(prefix, mask, *captions), expected["loss"], **LOOSE)


def test_beam_search(caption_head, generated):
    regions = normal("region_tokens_llm", 3, 32, 768)
    compared = 0
    for settings, found in generated["cases"].items():
        search = json.loads(settings)
        if search["length_penalty"]:  # its definition has changed since transformers 4.26
            continue
        search = {name: value for name, value in search.items() if name in caption_head.search}
        caption_head.search.update(search)
        written = caption_head.write(regions, CONTROLS)
        for (text, score), ids, expected in zip(written, found["sequences"], found["scores"], strict=True):
            assert [text] == caption_head.tokenizer.decode([ids])
            np.testing.assert_allclose(math.log(score), math.log(expected), atol=1e-3)
            compared += 1
    assert compared >= 6


def text_shapes(layers):
    names = manifest("dynrefer/frozen_eva_manifest.json.gz")
    kept = {name.removeprefix("text_encoder."): shape for name, (shape, _) in names.items()}
    blocks = [name for name in kept if name.startswith("transformer.resblocks.")]
    dropped = {name for name in blocks if int(name.split(".")[2]) >= layers}
    return {
        name: shape for name, shape in kept.items() if f"text_encoder.{name}" in names and name not in dropped
    }


@torch.no_grad()
def test_from_views_to_all_answers(encoder, tag_head, contrast_head, caption_head, monkeypatch):
    monkeypatch.setattr(tag_head, "threshold", 0.8)
    expected = pack("e2e_reduced")
    answers = json.loads((FOLDER / "e2e_reduced_caption.json").read_text())
    model = assembled(encoder, tag_head, contrast_head, caption_head)
    views = normal("images", 6, 3, 224, 224).unflatten(0, (2, 3))
    inputs = {"views": views, "regions": torch.from_numpy(expected["region_boxes"])}
    caption_head.search.update({"num_beams": 2, "max_new_tokens": 20})
    seen = {}
    hooks = [
        part.register_forward_hook(lambda module, given, out: seen.setdefault(module, out))
        for part in (encoder, tag_head)
    ]
    told = model(inputs, [sample(), sample()], mode="predict")
    for hook in hooks:
        hook.remove()
    fused = torch.cat((seen[encoder].image[:, None], seen[encoder].visual), dim=1)
    close(fused[:, ::4, ::32], expected["fused_probe"], **LOOSE)
    close(seen[encoder].regions, expected["region_tokens"])
    close(seen[tag_head], expected["tag_logits"])
    tight = {"rtol": 0, "atol": 2e-6}
    close(torch.tensor([list(a.attributes.values()) for a in told]), expected["attr"], **tight)
    close(torch.tensor([list(a.categories.values()) for a in told]), expected["cls"], **tight)
    for answer, right in zip(told, answers, strict=True):
        assert (answer.caption, list(answer.tags)) == (right["caption"], right["tag_set1"])
    scores = np.log([answer.scores[0] for answer in told])
    np.testing.assert_allclose(scores, np.log(expected["score"]), atol=1e-3)


def assembled(encoder, *heads):
    """A DynRefer of parts that have their values already."""
    tower = {"type": "EVATower", "width": 16, "layers": 1, "heads": 2, "feedforward": 16}
    qformer = {"width": 16, "layers": 1, "heads": 2}
    model = DynRefer({"type": RegionEncoder, "tower": tower, "qformer": qformer}, {})
    model.backbone = encoder
    model.heads = torch.nn.ModuleDict(dict(zip(("tag", "contrast", "caption"), heads, strict=True)))
    model.tasks = TASKS
    return model.eval()
