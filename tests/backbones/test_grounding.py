from __future__ import annotations

import numpy as np
import pytest
import tiny_models as tiny
import torch
from torch import nn

from refkit.backbones import CLIPBackbone, GroundingEncoder
from refkit.backbones.grounding import PositionedAttention, sine_positions
from refkit.backbones.inputs import InputError
from refkit.backbones.padding import visual_token_mask
from refkit.structures import Features, FeatureSizes

SIZES = FeatureSizes(levels=(12, 20), text=24, grid=(3, 4), prefix_tokens=1, context_length=6)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    encoder = GroundingEncoder(sizes=SIZES, width=32, layers=2, heads=4, feedforward=48)
    for parameter in encoder.parameters():  # norms and biases away from their trivial start
        if parameter.dim() == 1:
            nn.init.normal_(parameter, 0.5, 0.3)
    return encoder.eval()


def features(batch=2, text=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    visual_mask = torch.ones(batch, 12, dtype=torch.bool)
    visual_mask[0, 8:] = False
    text_mask = torch.ones(batch, text, dtype=torch.bool)
    text_mask[0, 3:] = False
    levels = tuple(torch.randn(batch, 13, width, generator=generator) for width in SIZES.levels)
    return Features(
        visual=levels[-1][:, 1:],
        visual_mask=visual_mask,
        grid=(3, 4),
        text=torch.randn(batch, text, 24, generator=generator),
        text_mask=text_mask,
        text_end=text_mask.sum(dim=1) - 1,
        levels=levels,
        prefix_tokens=1,
    )


def detr_reference(encoder, sequence, ignored):
    """The published encoder in its own words: sequence first, `nn.MultiheadAttention`, pre-norm (DETR)."""
    x = sequence.transpose(0, 1)
    position = encoder.position[: len(x)][:, None]
    for layer in encoder.layers:
        attention = nn.MultiheadAttention(32, 4, dropout=0.1).eval()
        attention.load_state_dict(layer.self_attn.state_dict())
        y = layer.norm1(x)
        x = x + attention(y + position, y + position, y, key_padding_mask=ignored)[0]
        x = x + layer.linear2(torch.relu(layer.linear1(layer.norm2(x))))
    return encoder.norm(x).transpose(0, 1)


@torch.no_grad()
def test_equals_detrs_pre_norm_encoder(encoder):
    given = features()
    visual, text = encoder.project(given)
    region = encoder.region_token.expand(2, 1, -1)
    ignored = torch.cat((torch.zeros(2, 2, dtype=torch.bool), ~given.visual_mask, ~given.text_mask), dim=1)
    expected = detr_reference(encoder, torch.cat((region, visual, text), dim=1), ignored)
    actual = encoder.fuse(encoder.start(visual, given), visual, text, encoder.key_mask(given))
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-6)


@torch.no_grad()
def test_parts_of_the_output_have_their_names(encoder):
    given = features()
    fused = encoder(given)
    visual, text = encoder.project(given)
    sequence = encoder.fuse(encoder.start(visual, given), visual, text, encoder.key_mask(given))
    assert torch.equal(fused.region_token, sequence[:, 0])
    assert torch.equal(fused.visual, sequence[:, 2:14])
    assert torch.equal(fused.text, sequence[:, 14:])
    assert torch.equal(fused.query, torch.stack((sequence[0, 14 + 2], sequence[1, 14 + 4])))
    assert fused.grid == (3, 4) and fused.levels is given.levels


@torch.no_grad()
def test_masked_tokens_change_nothing(encoder):
    given, other = features(), features()
    other.text[0, 3:] = 100.0
    for level in other.levels:
        level[0, 1 + 8 :] = -50.0
    a, b = encoder(given), encoder(other)
    assert torch.equal(a.region_token, b.region_token) and torch.equal(a.query, b.query)


@torch.no_grad()
def test_trimmed_text_gives_the_same_region(encoder):
    long = features(text=6)
    short = features(text=6)
    for each in (long, short):
        each.text_mask[:, 3:] = False
        each.text_end[:] = 2
    short.text, short.text_mask = short.text[:, :3], short.text_mask[:, :3]
    torch.testing.assert_close(encoder(short).region_token, encoder(long).region_token, rtol=0, atol=1e-6)


@torch.no_grad()
def test_attention_maps_only_when_asked_for(encoder):
    given = features()
    assert encoder(given).attention == {}
    maps = encoder(given, attention=True).attention
    assert [*maps] == ["grounding.0", "grounding.1"]
    weights = maps["grounding.1"]
    assert weights.shape == (2, 4, 19, 19)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 4, 19))
    assert (weights[0, :, :, 2 + 8 : 2 + 12] == 0).all() and (weights[1, :, :, 2:14] > 0).all()


def test_dropout_only_in_training(encoder):
    given = features()
    assert torch.equal(encoder(given).region_token, encoder(given).region_token)
    encoder.train()
    assert not torch.equal(encoder(given).region_token, encoder(given).region_token)


def test_starts_from_copies_of_a_projection(encoder):
    encoder = GroundingEncoder(sizes=FeatureSizes((20, 20), 24, (3, 4), 1, 6), width=32, layers=1, heads=4)
    projection = torch.randn(32, 20)
    encoder.start_from(projection)
    assert torch.equal(encoder.perceiver.weight, torch.cat((projection, projection), dim=1))


def test_works_after_a_backbone_without_prefix_tokens():
    encoder = GroundingEncoder(sizes=FeatureSizes((12,), 24, (3, 4), 0, 6), width=32, layers=1, heads=4)
    given = features()
    given.levels, given.prefix_tokens = (given.levels[0][:, 1:],), 0
    fused = encoder(given)
    assert fused.visual.shape == (2, 12, 32) and fused.region_token.shape == (2, 32)


def test_refuses_what_it_was_not_built_for(encoder):
    too_long = features(text=7)
    with pytest.raises(ValueError, match=r"3 x 4 patches and 7 text tokens, but .* at most 6"):
        encoder(too_long)
    other_grid = features()
    other_grid.grid = (4, 3)
    for run in (encoder, encoder.read):
        with pytest.raises(InputError, match=r"4 x 3 patches .* exactly 3 x 4"):
            run(other_grid)
    with pytest.raises(ValueError, match="levels and text"):
        encoder(Features(visual=torch.zeros(1, 12, 4), visual_mask=torch.ones(1, 12) > 0, grid=(3, 4)))
    with pytest.raises(ValueError, match="cannot be split over 5 heads"):
        PositionedAttention(32, 5, 0.0)


def test_token_mask_equals_the_published_one(repository):
    golden = np.load(repository / "tests/golden/hivg_token_masks.npz")
    padding = torch.from_numpy(golden["pad_mask"])
    kept = visual_token_mask(padding, (14, 14))
    assert (kept.numpy() == ~golden["visual_token_mask"]).all()
    plain = padding.float()[:, 8::16, 8::16].flatten(1) == 0
    assert not torch.equal(kept, plain), "the case tells anti-aliased from nearest"


def test_backbone_hands_the_token_mask_on():
    backbone = CLIPBackbone(tiny.SIZE)
    inputs = tiny.inputs(2)
    mask = backbone(inputs).visual_mask
    assert mask[0].view(4, 4)[:3].all() and not mask[0].view(4, 4)[3].any() and mask[1].all()
    del inputs["padding"]
    assert backbone(inputs).visual_mask.all()


def test_similarity_moves_only_patches_of_the_image():
    torch.manual_seed(0)
    encoder = GroundingEncoder(sizes=SIZES, width=32, layers=1, heads=4, similarity=True).eval()
    plain, pointed = features(), features()
    plain.similarity = torch.zeros(2, 12)
    pointed.similarity = torch.linspace(-0.2, 0.6, 24).reshape(2, 12)
    moved = (encoder.project(pointed)[0] - encoder.project(plain)[0]).detach()
    along = moved @ encoder.similarity.detach() / encoder.similarity.detach().square().sum()
    real = torch.nn.functional.pad(pointed.visual_mask, (1, 0), value=False)
    assert along[~real].abs().max() < 1e-5
    for row in range(2):
        values = along[row][real[row]]
        assert float(values.mean()) == pytest.approx(0, abs=1e-5)
        assert float(values.square().mean()) == pytest.approx(1, abs=1e-4)
        assert (values.diff() > 0).all()


def test_similarity_must_come_from_the_backbone():
    encoder = GroundingEncoder(sizes=SIZES, width=32, layers=1, heads=4, similarity=True)
    with pytest.raises(ValueError, match=r"needs features\.similarity: ask the backbone for it"):
        encoder(features())


def test_the_region_token_starts_where_the_similarity_points():
    torch.manual_seed(0)
    encoder = GroundingEncoder(sizes=SIZES, width=32, layers=1, heads=4, similarity=True).eval()
    given = features()
    given.similarity = torch.full((2, 12), -1.0)
    given.similarity[:, 5] = 1.0
    given.similarity[0, 9] = 9.0  # padding of the first sample: must not attract
    with torch.no_grad():
        visual, _ = encoder.project(given)
        start = encoder.start(visual, given)[:, 0]
        expected = encoder.region_token + visual[:, 6] + encoder.position[7]
        assert torch.cosine_similarity(start, expected).min() > 0.98


def test_a_place_can_be_read_linearly_from_the_sine_positions():
    table = sine_positions((8, 6), 32)
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(6.0), indexing="ij")
    place = torch.stack((rows.flatten(), columns.flatten()), dim=1)
    inputs = torch.cat((table, torch.ones(48, 1)), dim=1)
    solution = torch.linalg.lstsq(inputs, place).solution
    assert (inputs @ solution - place).abs().max() < 0.02
    assert torch.cdist(table, table).add(torch.eye(48) * 9).min() > 0.1


def test_sine_positions_enter_the_tokens():
    torch.manual_seed(0)
    plain = GroundingEncoder(sizes=SIZES, width=32, layers=0, heads=4)
    sine = GroundingEncoder(sizes=SIZES, width=32, layers=0, heads=4, sine=True)
    assert torch.allclose(sine.position[2:14], sine_positions((3, 4), 32))
    sine.load_state_dict(plain.state_dict())
    region, visual, text = torch.zeros(1, 1, 32), torch.zeros(1, 13, 32), torch.zeros(1, 2, 32)
    mask = torch.ones(1, 16, dtype=torch.bool)
    assert plain.fuse(region, visual, text, mask).abs().max() < 1e-6
    entered = sine.fuse(region, visual, text, mask)
    assert torch.allclose(entered[0], sine.norm(sine.position[:16]), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("ours", [False, True])
def test_reading_the_region_token_alone_is_exact(ours):
    backbone = CLIPBackbone(tiny.SIZE, visual_levels=(1, 3), similarity=ours).eval()
    encoder = GroundingEncoder(
        sizes=backbone.feature_sizes, width=32, layers=3, heads=4, sine=ours, similarity=ours
    ).eval()
    features = backbone(tiny.inputs(4))
    torch.testing.assert_close(
        encoder.read(features).region_token, encoder(features).region_token, atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_words_after_the_longest_text_change_nothing():
    backbone = CLIPBackbone(tiny.SIZE, visual_levels=(1, 3)).eval()
    encoder = GroundingEncoder(sizes=backbone.feature_sizes, width=32, layers=2, heads=4).eval()
    short = tiny.inputs(3)
    missing = tiny.SIZE["context_length"] - short["token_ids"].shape[1]
    padded = {**short, "token_ids": torch.nn.functional.pad(short["token_ids"], (0, missing))}
    one, other = encoder(backbone(short)), encoder(backbone(padded))
    assert other.text.shape == one.text.shape
    torch.testing.assert_close(other.region_token, one.region_token, atol=1e-6, rtol=1e-5)
