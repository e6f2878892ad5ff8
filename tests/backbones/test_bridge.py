"""MACB: what bridges read, that samples stay apart, and that any list of blocks can take them."""

import pytest
import timm
import tiny_models as tiny
import torch
from torch import nn

from refkit.backbones import CLIPBackbone
from refkit.backbones.bridge import CrossModalBridge, bridged
from refkit.registry import MODELS

SIZES = {"width": 16, "heads": 2, "text_width": 8, "embed": 12, "context_length": 5, "depth": 4}


def bridge(**changes):
    torch.manual_seed(0)
    return CrossModalBridge(**SIZES, **{"blocks": [1, 3], "text_levels": [2, 4], **changes})


def states(batch=3):
    generator = torch.Generator().manual_seed(1)
    return {level: torch.randn(batch, 5, 8, generator=generator) for level in (2, 4)}


def backbone(**changes):
    torch.manual_seed(0)
    settings = {"blocks": [0, 2], "text_levels": [1, 2], **changes}
    config = {"type": "CrossModalBridge", **settings}
    return CLIPBackbone(tiny.SIZE, visual_levels=(1, 2, 3), bridge=config).eval()


def inputs(count):
    given = tiny.inputs(count)
    missing = tiny.SIZE["context_length"] - given["token_ids"].shape[1]
    return {**given, "token_ids": nn.functional.pad(given["token_ids"], (0, missing))}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [("full", (5, 8)), ("channel", (1, 8)), ("token", (5, 1)), ("scalar", (1, 1)), (None, None)],
)
def test_adaptive_weights_have_the_shape_asked_for(shape, expected):
    weights = list(bridge(weight_shape=shape)["1"].gate.weights)
    assert [tuple(weight.shape) for weight in weights] == ([expected] * 2 if expected else [])


def test_words_are_weighted_levels_side_by_side_through_the_gate():
    module, given = bridge(), states()
    gate = module["3"].gate
    weighted = [given[level] * (1 + weight) for level, weight in zip((2, 4), gate.weights, strict=True)]
    expected = nn.functional.linear(torch.cat(weighted, -1), gate.linear.weight, gate.linear.bias)
    torch.testing.assert_close(module.words(given, torch.zeros(3, 5, 12))[3], expected)


def test_an_update_is_the_perceptron_of_attention_to_all_words():
    module = bridge()["1"]
    hidden, words = torch.randn(2, 7, 16), torch.randn(2, 5, 16)
    reference = nn.MultiheadAttention(16, 2, batch_first=True)
    attention = module.attention
    with torch.no_grad():
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        reference.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        reference.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        reference.out_proj.load_state_dict(attention.out_proj.state_dict())
        read, maps = reference(module.norm(hidden), words, words, average_attn_weights=False)
        inner = module.mlp.fc1(read)
        expected = module.mlp.fc2(inner * torch.sigmoid(1.702 * inner))
        torch.testing.assert_close(module(hidden, words), expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(module.attention_map(hidden, words), maps)


def test_published_mixing_gives_a_sample_the_rows_that_the_specification_names():
    """Sample i's j-th row is token (T i + j) div B of sample (T i + j) mod B."""
    given = states(batch=3)
    apart = bridge(published_batch_mixing=False).words(given, torch.zeros(3, 5, 12))[1]
    mixed = bridge(published_batch_mixing=True).words(given, torch.zeros(3, 5, 12))[1]
    for sample in range(3):
        for row in range(5):
            token, other = divmod(5 * sample + row, 3)
            torch.testing.assert_close(mixed[sample, row], apart[other, token])
    alone = {level: state[:1] for level, state in given.items()}
    torch.testing.assert_close(
        bridge(published_batch_mixing=True).words(alone, torch.zeros(1, 5, 12))[1],
        bridge(published_batch_mixing=False).words(alone, torch.zeros(1, 5, 12))[1],
    )


@torch.no_grad()
def test_by_default_a_prediction_does_not_depend_on_the_rest_of_the_batch():
    together = backbone()(inputs(4))
    mixed = backbone(published_batch_mixing=True)(inputs(4))
    for row in range(4):
        alone = backbone()({name: value[row : row + 1] for name, value in inputs(4).items()})
        for level, other in zip(together.levels, alone.levels, strict=True):
            torch.testing.assert_close(level[row : row + 1], other, atol=1e-5, rtol=1e-5)
    assert (mixed.levels[-1] - together.levels[-1]).abs().max() > 1e-2


@torch.no_grad()
def test_words_reach_the_patches_of_bridged_blocks_and_not_before():
    model, given = backbone(blocks=[1]), inputs(2)
    changed = {**given, "token_ids": given["token_ids"].flip(0)}
    one, other = model(given), model(changed)
    torch.testing.assert_close(one.levels[0], other.levels[0])
    assert (one.levels[1] - other.levels[1]).abs().max() > 1e-3
    model.bridging = False
    torch.testing.assert_close(model(given).levels[-1], model(changed).levels[-1])


@torch.no_grad()
def test_bridges_that_start_at_zero_leave_the_tower_as_it_was():
    model, given = backbone(zero_init=True), inputs(2)
    bridged_levels = model(given).levels
    model.bridging = False
    for one, other in zip(bridged_levels, model(given).levels, strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_projected_words_replace_levels_and_gates():
    model = backbone(source="projected", text_levels=[])
    assert not any("gate" in name for name, _ in model.named_parameters())
    features = model(inputs(2))
    torch.testing.assert_close(
        model.bridges.words({}, features.text)[0], model.bridges.projection(features.text)
    )


@torch.no_grad()
def test_attention_maps_of_bridges_on_request():
    maps = backbone()(inputs(2), attention=True).attention
    assert maps["bridge.2"].shape == (2, 4, 17, tiny.SIZE["context_length"])
    torch.testing.assert_close(maps["bridge.2"].sum(-1), torch.ones(2, 4, 17))


@torch.no_grad()
def test_ablations_change_what_a_bridge_reads():
    layered = bridge(layer_to_layer=True)
    assert layered["1"].gate.linear.in_features == 8
    words = layered.words(states(), torch.zeros(3, 5, 12))
    torch.testing.assert_close(words[3], layered["3"].gate([states()[4]]))
    mean = bridge(cross_attention=False)
    assert mean["1"].attention is None
    read = torch.randn(2, 5, 16)
    torch.testing.assert_close(
        mean(1, torch.zeros(2, 7, 16), read)[:, 3], mean["1"].mlp(read.mean(1)), atol=1e-6, rtol=1e-5
    )


@torch.no_grad()
def test_blocks_of_timm_can_take_a_bridge():
    torch.manual_seed(0)
    vit = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, img_size=32, embed_dim=16, depth=2, num_heads=2
    ).eval()
    block, hidden = vit.blocks[0], torch.randn(2, 5, 16)
    torch.testing.assert_close(bridged(block, lambda states: states, hidden), block(hidden))
    assert (bridged(block, lambda states: states + 1, hidden) - block(hidden)).abs().max() > 0.1


def test_unknown_blocks_say_what_they_would_need():
    with pytest.raises(TypeError, match=r"Linear cannot take a bridge: give it a method halves\(\)"):
        bridged(nn.Linear(2, 2), lambda states: states, torch.zeros(1, 1, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks": [4]}, "from 0 to 3"),
        ({"blocks": [1, 1]}, "different numbers"),
        ({"weight_shape": "row"}, "weight_shape='row'"),
        ({"source": "all"}, "source='all'"),
        ({"text_levels": []}, "need text_levels"),
        ({"layer_to_layer": True, "text_levels": [1]}, "one text level per bridge"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        bridge(**changes)


def test_levels_beyond_the_text_tower_and_trimmed_texts_are_refused():
    with pytest.raises(ValueError, match="text_levels of the bridge"):
        backbone(text_levels=[3])
    with pytest.raises(ValueError, match="switch off trim_text"):
        backbone()(tiny.inputs(2))


def test_a_bridged_grounder_trains_every_open_parameter():
    config = tiny.hivg_config(
        backbone={
            "type": CLIPBackbone,
            "size": tiny.SIZE,
            "visual_levels": (1, 2, 3),
            "bridge": {"type": "CrossModalBridge", "blocks": [0, 2], "text_levels": [2]},
        }
    )
    model = MODELS.build(config)
    sum(model.loss(inputs(3), tiny.samples(3)).values()).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
