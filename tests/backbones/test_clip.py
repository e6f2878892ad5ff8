from __future__ import annotations

import open_clip
import pytest
import tiny_models as tiny
import torch
from transformers import CLIPModel

from refkit.backbones import CLIPBackbone
from refkit.backbones.clip_sizes import CLIPSizeError, clip_size
from refkit.backbones.clip_weights import resize_positions
from refkit.backbones.inputs import InputError
from refkit.backbones.state import WeightError


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return CLIPBackbone(tiny.SIZE, visual_levels=(0, 1, 3), text_levels=(0, 2), pooled=True).eval()


@pytest.fixture
def open_clip_model():
    """A random CLIP of the same size, built by open_clip."""
    torch.manual_seed(3)
    vision = {**tiny.SIZE["vision"], "image_size": 32, "patch_size": 8, "head_width": 12}
    del vision["heads"]
    text = {**tiny.SIZE["text"], "vocab_size": 40, "context_length": 12}
    return open_clip.CLIP(32, vision, text, quick_gelu=True).eval()


@torch.inference_mode()
def test_levels_and_embeddings_equal_transformers(backbone):
    inputs = tiny.inputs(3)
    features = backbone(inputs)
    reference: CLIPModel = backbone.clip
    vision = reference.vision_model(inputs["images"], output_hidden_states=True)
    close = dict(rtol=0, atol=1e-6)
    for level, own in zip((1, 3), features.levels[1:], strict=True):
        torch.testing.assert_close(own, vision.hidden_states[level], **close)
    image = reference.visual_projection(vision.pooler_output)
    torch.testing.assert_close(features.image, image, **close)
    torch.testing.assert_close(features.visual, features.levels[2][:, 1:], **close)
    text = reference.text_model(inputs["token_ids"], output_hidden_states=True)
    torch.testing.assert_close(features.text_levels[0], text.hidden_states[0], **close)
    torch.testing.assert_close(features.text, reference.text_projection(text.last_hidden_state), **close)
    torch.testing.assert_close(features.query, reference.text_projection(text.pooler_output), **close)


@torch.inference_mode()
def test_last_text_level_is_before_the_final_norm(backbone):
    features = backbone(tiny.inputs(2))
    normed = backbone.clip.text_model.final_layer_norm(features.text_levels[-1])
    torch.testing.assert_close(backbone.clip.text_projection(normed), features.text)
    assert not torch.allclose(normed, features.text_levels[-1], atol=1e-2)


@torch.inference_mode()
def test_first_level_is_the_embedding_after_the_pre_norm(backbone):
    images = tiny.inputs(1)["images"]
    tower = backbone.clip.vision_model
    expected = tower.pre_layrnorm(tower.embeddings(images))
    torch.testing.assert_close(backbone(tiny.inputs(1)).levels[0], expected)


@torch.inference_mode()
def test_trimming_padded_words_is_exact(backbone):
    inputs = tiny.inputs(3)
    full = torch.zeros(3, 12, dtype=torch.int64)
    full[:, : inputs["token_ids"].shape[1]] = inputs["token_ids"]
    short, long = backbone(inputs), backbone({**inputs, "token_ids": full})
    torch.testing.assert_close(short.query, long.query, rtol=0, atol=1e-6)
    torch.testing.assert_close(short.text, long.text[:, : short.text.shape[1]], rtol=0, atol=1e-6)
    assert torch.equal(short.text_end, long.text_end)


@torch.inference_mode()
def test_attention_maps_only_when_asked_for(backbone):
    inputs = tiny.inputs(2)
    plain, looked_at = backbone(inputs), backbone(inputs, attention=True)
    assert plain.attention == {}
    assert [*looked_at.attention] == ["vision.0", "vision.1", "vision.2"]
    block = backbone.clip.vision_model.encoder.layers[2]
    weights = looked_at.attention["vision.2"]
    assert weights.shape == (2, 4, 17, 17)
    states = block.layer_norm1(backbone_input(backbone, inputs, 2))
    value = block.self_attn.v_proj(states).view(2, 17, 4, 12).transpose(1, 2)
    mixed = block.self_attn.out_proj((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixed, block.self_attn(states)[0], rtol=0, atol=1e-5)


def backbone_input(backbone, inputs, block):
    return backbone.clip.vision_model(inputs["images"], output_hidden_states=True).hidden_states[block]


@torch.inference_mode()
def test_open_clip_weights_give_open_clips_outputs(open_clip_model, tmp_path):
    torch.save(open_clip_model.state_dict(), tmp_path / "open_clip.pt")
    backbone = CLIPBackbone(tiny.SIZE, pooled=True, weights=tmp_path / "open_clip.pt").eval()
    inputs = tiny.inputs(3)
    features = backbone(inputs)
    close = dict(rtol=0, atol=1e-5)
    torch.testing.assert_close(features.image, open_clip_model.encode_image(inputs["images"]), **close)
    ids = torch.zeros(3, 12, dtype=torch.int64)
    ids[:, : inputs["token_ids"].shape[1]] = inputs["token_ids"]
    torch.testing.assert_close(features.query, open_clip_model.encode_text(ids), **close)
    assert torch.equal(backbone.scale, open_clip_model.logit_scale.exp())


def test_files_in_transformers_layout_load_with_wrappers_and_old_buffers(backbone, tmp_path):
    state = {f"module.clip.{name}": value for name, value in backbone.clip.state_dict().items()}
    state["module.clip.text_model.embeddings.position_ids"] = torch.arange(12)[None]
    torch.save({"model": state}, tmp_path / "clip.pth")
    other = CLIPBackbone(tiny.SIZE, weights=str(tmp_path / "clip.pth"))
    for name, value in other.clip.state_dict().items():
        assert torch.equal(value, backbone.clip.state_dict()[name])


@torch.inference_mode()
def test_another_input_size_resizes_the_positions(backbone, tmp_path):
    torch.save(backbone.clip.state_dict(), tmp_path / "clip.pt")
    larger = CLIPBackbone(tiny.SIZE, image_size=48, weights=tmp_path / "clip.pt").eval()
    images = torch.randn(1, 3, 48, 48)
    ids = tiny.inputs(1)["token_ids"]
    on_the_fly = backbone({"images": images, "token_ids": ids})
    assert larger.feature_sizes.grid == on_the_fly.grid == (6, 6)
    expected = larger({"images": images, "token_ids": ids}).visual
    torch.testing.assert_close(on_the_fly.visual, expected, rtol=0, atol=1e-6)


def test_resized_positions_keep_the_class_and_a_smooth_field():
    row, column = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    positions = torch.cat((torch.tensor([[7.0, -7.0]]), torch.stack((row.flatten(), column.flatten()), 1)))
    assert resize_positions(positions, (8, 8)) is positions
    resized = resize_positions(positions, (4, 6))
    assert resized.shape == (1 + 24, 2) and torch.equal(resized[0], positions[0])
    field = resized[1:].view(4, 6, 2)
    assert (field[1:, :, 0] > field[:-1, :, 0]).all() and (field[:, 1:, 1] > field[:, :-1, 1]).all()


def test_without_pooling_unused_parts_are_neither_trained_nor_run():
    backbone = CLIPBackbone(tiny.SIZE, visual_levels=(1,))
    frozen = {name for name, p in backbone.clip.named_parameters() if not p.requires_grad}
    assert "logit_scale" in frozen and "visual_projection.weight" in frozen
    assert any(name.startswith("vision_model.encoder.layers.1.") for name in frozen)
    assert not any(name.startswith(("vision_model.encoder.layers.0.", "text_model.")) for name in frozen)
    calls = []
    backbone.clip.vision_model.encoder.layers[1].register_forward_hook(lambda *_: calls.append(1))
    features = backbone(tiny.inputs(1))
    assert not calls and features.image is None and len(features.levels) == 1


def test_a_frozen_tower_builds_no_graph(backbone):
    backbone.requires_grad_(False)
    features = backbone(tiny.inputs(2))
    assert not features.visual.requires_grad and not features.text.requires_grad


def test_sizes_by_name():
    base = clip_size("openai/clip-vit-base-patch16")
    assert base == clip_size("ViT-B-16")
    assert (base.vision.width, base.vision.heads, base.vision.feedforward, base.grid) == (
        768,
        12,
        3072,
        (14, 14),
    )
    large = clip_size("ViT-L-14")
    assert (large.embed, large.vision.layers, large.vision.heads, large.text.width) == (768, 24, 16, 768)
    assert clip_size(base) is base and base.activation == "quick_gelu"


def test_a_local_folder_of_transformers(backbone, tmp_path):
    backbone.clip.save_pretrained(tmp_path / "mine")
    again = CLIPBackbone.from_name(str(tmp_path / "mine"), weights=str(tmp_path / "mine"))
    assert again.size == backbone.size
    assert torch.equal(again.clip.logit_scale, backbone.clip.logit_scale)
    assert all(
        torch.equal(a, b) for a, b in zip(again.clip.parameters(), backbone.clip.parameters(), strict=True)
    )


def test_weights_of_an_open_clip_tag_set_the_activation():
    from refkit.backbones.clip_weights import published_activation

    assert published_activation("ViT-B-16", "openai") == "quick_gelu"
    assert published_activation("ViT-B-16", "laion2b_s34b_b88k") == "gelu"
    assert published_activation("ViT-B-16", "some/file.pt") is None


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("ViT-B-61", "no CLIP is called 'ViT-B-61'; near: ViT-B-16"),
        ("RN50", "not a plain CLIP .*no transformer"),
        ("ViT-H-14-CLIPA", "not a plain CLIP .*final_ln_after_pool, hf_tokenizer_name, no_causal_mask"),
        ({**tiny.SIZE, "image_size": 33}, "not a multiple of patch_size 8"),
        ({**tiny.SIZE, "vision": {"width": 50, "layers": 1, "heads": 4}}, "cannot be split over 4 heads"),
        ({**tiny.SIZE, "pach_size": 3}, "pach_size"),
    ],
)
def test_bad_sizes_are_refused(size, message):
    with pytest.raises(CLIPSizeError, match=message):
        CLIPBackbone(size)


def test_bad_levels_images_and_weights_are_refused(backbone, tmp_path):
    with pytest.raises(ValueError, match=r"visual_levels=\[4\]: expected numbers from 0"):
        CLIPBackbone(tiny.SIZE, visual_levels=[4])
    with pytest.raises(ValueError, match="text_levels"):
        CLIPBackbone(tiny.SIZE, text_levels=[-1])
    with pytest.raises(ValueError, match="36 x 32 pixels; both sides must be multiples"):
        backbone({"images": torch.zeros(1, 3, 32, 36), "token_ids": tiny.inputs(1)["token_ids"]})
    with pytest.raises(WeightError, match="no weight file"):
        CLIPBackbone(tiny.SIZE, weights=tmp_path / "absent.safetensors")
    with pytest.raises(WeightError, match="not a file, and open_clip has openai"):
        CLIPBackbone("ViT-B-32", weights="openay")
    torch.save({"some.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightError, match="neither transformers' nor open_clip's"):
        CLIPBackbone(tiny.SIZE, weights=tmp_path / "other.pt")


def test_an_unknown_tensor_in_an_open_clip_file_is_named(open_clip_model, tmp_path):
    state = open_clip_model.state_dict()
    state["transformer.resblocks.0.ls_1.gamma"] = torch.zeros(1)
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(WeightError, match=r"resblocks\.0\.ls_1\.gamma has no place"):
        CLIPBackbone(tiny.SIZE, weights=tmp_path / "x.pt")


def test_similarity_is_the_cosine_in_the_shared_space():
    backbone = tiny.build({"type": CLIPBackbone, "size": tiny.SIZE, "similarity": True}).eval()
    inputs = tiny.inputs(2)
    with torch.no_grad():
        features = backbone(inputs)
        patches = backbone.project_visual(features.visual)
    expected = torch.cosine_similarity(patches, features.query[:, None], dim=-1)
    assert torch.allclose(features.similarity, expected, atol=1e-6)
    assert all(p.requires_grad for p in backbone.clip.visual_projection.parameters())
    assert tiny.build({"type": CLIPBackbone, "size": tiny.SIZE})(inputs).similarity is None


@torch.no_grad()
@pytest.mark.parametrize("bridge", [None, {"type": "CrossModalBridge", "blocks": [1], "text_levels": [2]}])
def test_sentences_that_share_a_picture_get_the_features_of_their_own(bridge):
    torch.manual_seed(0)
    settings = {"visual_levels": (1, 3), "pooled": True, "similarity": True, "bridge": bridge}
    backbone = CLIPBackbone(tiny.SIZE, **settings).eval()
    given = tiny.inputs(5)
    missing = tiny.SIZE["context_length"] - given["token_ids"].shape[1]
    given["token_ids"] = torch.nn.functional.pad(given["token_ids"], (0, missing))
    index = torch.tensor([0, 0, 2, 1, 2])
    shared = {**given, "images": given["images"][:3], "padding": given["padding"][:3], "image_index": index}
    apart = {**given, "images": given["images"][index], "padding": given["padding"][index]}
    one, other = backbone(shared, attention=True), backbone(apart, attention=True)
    for name in ("visual", "visual_mask", "text", "query", "image", "similarity"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=1e-5, rtol=1e-5)
    for level, expected in zip(one.levels, other.levels, strict=True):
        torch.testing.assert_close(level, expected, atol=1e-5, rtol=1e-5)
    assert one.attention["vision.0"].shape == other.attention["vision.0"].shape


def test_an_index_that_does_not_fit_the_texts_is_refused():
    given = {**tiny.inputs(3), "image_index": torch.tensor([0, 1])}
    with pytest.raises(InputError, match="image_index: expected 3 rows"):
        CLIPBackbone(tiny.SIZE)(given)
