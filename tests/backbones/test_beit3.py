"""BEiT-3: trimming is exact, samples are independent, positions are fairseq's, bad input is refused in words."""

from __future__ import annotations

import pytest
import tiny_models as tiny
import torch
import torch.nn.functional as F

from refkit.backbones import BEiT3Backbone, CLIPBackbone
from refkit.backbones.beit3_sizes import PUBLISHED, BEiT3SizeError, beit3_size
from refkit.backbones.beit3_weights import resize_positions
from refkit.backbones.hilora import HiLoRA, adapted_names
from refkit.backbones.inputs import InputError
from refkit.backbones.state import WeightError
from refkit.registry import MODELS
from refkit.zoo.weights import save_weights

EXACT = dict(rtol=0, atol=2e-6)
FIELDS = ("visual", "query", "image", "sentence", "visual_aligned", "similarity", "contrast_scale")


def backbone(seed=0, **changes):
    torch.manual_seed(seed)
    return BEiT3Backbone(**{"size": tiny.BEIT3_SIZE, "pad_id": 0, **changes}).eval()


def assert_same(ours, theirs, names=FIELDS, **tolerance):
    for name in names:
        torch.testing.assert_close(
            getattr(ours, name), getattr(theirs, name), msg=name, **(tolerance or EXACT)
        )


def rows(inputs, chosen):
    return {name: value[chosen] for name, value in inputs.items()}


@torch.no_grad()
def test_leaving_out_padded_words_changes_nothing():
    model, inputs = backbone(), tiny.inputs(4)
    widened = {**inputs, "token_ids": F.pad(inputs["token_ids"], (0, 4))}
    trimmed = model(inputs)
    padded = model(widened)
    assert_same(trimmed, padded)
    width = inputs["token_ids"].shape[1]
    real = trimmed.text_mask
    torch.testing.assert_close(trimmed.text[real], padded.text[:, :width][real], **EXACT)
    assert not padded.text_mask[:, width:].any()


@torch.no_grad()
def test_a_sample_does_not_depend_on_the_rest_of_its_batch():
    model, inputs = backbone(), tiny.inputs(4)
    together = model(inputs)
    for row in range(4):
        alone = model(rows(inputs, slice(row, row + 1)))
        for name in ("visual", "query", "image", "sentence", "similarity"):
            torch.testing.assert_close(getattr(together, name)[row], getattr(alone, name)[0], **EXACT)


@torch.no_grad()
def test_the_key_mask_hides_padded_words_only():
    """Without a mask the padded words would take part: the test of the two tests above."""
    model, inputs = backbone(), tiny.inputs(4)
    told = model({**inputs, "token_padding": (inputs["token_ids"] == 0).int()})
    assert_same(told, model(inputs), rtol=0, atol=0)
    untold = model({**inputs, "token_padding": torch.zeros_like(inputs["token_ids"])})
    assert (untold.similarity - told.similarity).abs().max() > 1e-4
    assert model(inputs, attention=True).attention["beit3.0"][0, :, :, 17 + 4 :].max() == 0


@torch.no_grad()
def test_padded_pixels_are_looked_at_but_marked():
    model, inputs = backbone(), tiny.inputs(2)
    marked = model(inputs)
    assert_same(marked, model({name: inputs[name] for name in ("images", "token_ids")}), rtol=0, atol=0)
    assert marked.visual_mask.tolist() == [[True] * 12 + [False] * 4, [True] * 16]


@torch.no_grad()
def test_positions_start_at_row_two():
    model, inputs = backbone(), tiny.inputs(1)
    before = model(inputs).similarity
    tables = model.beit3.encoder.embed_positions
    tables["A"].weight[:2] = 100
    tables["B"].weight[:2] = 100
    torch.testing.assert_close(model(inputs).similarity, before, rtol=0, atol=0)
    tables["B"].weight[2] *= -1
    assert not torch.allclose(model(inputs).similarity, before)


@torch.no_grad()
def test_a_masked_patch_is_replaced_by_the_mask_token():
    model, inputs = backbone(), tiny.inputs(2)
    model.beit3.vision_embed.mask_token.normal_()
    masked = torch.zeros(2, 16, dtype=torch.bool)
    masked[1, 5] = True
    inputs["patch_masked"] = masked
    before = model(inputs)
    inputs["images"][1, :, 8:16, 8:16] += 3  # patch 5 of a grid of 4 x 4
    assert_same(model(inputs), before, rtol=0, atol=0)
    plain = model({**inputs, "patch_masked": torch.zeros_like(masked)})
    torch.testing.assert_close(plain.visual[0], before.visual[0], **EXACT)
    assert (plain.visual[1] - before.visual[1]).abs().max() > 1e-3


@torch.no_grad()
def test_sentences_that_share_a_picture():
    model, inputs = backbone(), tiny.inputs(2)
    index = torch.tensor([0, 1, 1])
    apart = {name: value[index] for name, value in inputs.items()}
    apart["token_ids"] = torch.cat((inputs["token_ids"], inputs["token_ids"][:1]))
    shared = {**inputs, "token_ids": apart["token_ids"], "image_index": index}
    assert_same(model(shared), model(apart))


@torch.no_grad()
def test_levels_and_maps():
    model = backbone(visual_levels=(0, 1, 2, 3), text_levels=(0, 3))
    inputs = tiny.inputs(2)
    features = model(inputs, attention=True)
    assert len(features.levels) == 4 == len(model.feature_sizes.levels)
    assert features.levels[0].shape == (2, 17, 48) and features.text_levels[1].shape == (2, 6, 48)
    last = features.levels[-1], features.text_levels[-1]
    visual, text = model.beit3.encoder.layer_norm(last)
    torch.testing.assert_close(visual[:, 1:], features.visual)
    torch.testing.assert_close(text, features.text)
    assert sorted(features.attention) == ["beit3.0", "beit3.1", "beit3.2"]
    assert features.attention["beit3.2"].shape == (2, 4, 23, 23)
    torch.testing.assert_close(features.attention["beit3.2"].sum(-1), torch.ones(2, 4, 23))


def test_attention_maps_are_those_the_block_uses():
    model = backbone()
    block = model.beit3.encoder.layers[0]
    states = torch.randn(2, 17, 48), torch.randn(2, 5, 48)
    mask = torch.ones(2, 1, 1, 22, dtype=torch.bool)
    mask[0, ..., -2:] = False
    value = block.self_attn._split(block.self_attn.v_proj(states))
    mixed = (block.self_attn.map(states, mask) @ value).transpose(1, 2).flatten(2)
    expected = block.self_attn.out_proj(block.self_attn.inner_attn_ln((mixed[:, :17], mixed[:, 17:])))
    for ours, theirs in zip(block.self_attn(states, mask), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def gradients(model, inputs):
    torch.manual_seed(1)
    features = model(inputs)
    (features.similarity.sum() + features.text[features.text_mask].square().sum()).backward()
    return {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }


def test_checkpointing_gives_the_same_gradients_with_drop_path():
    inputs = tiny.inputs(4)
    kept, recomputed = (
        gradients(backbone(drop_path=0.5, checkpointing=flag).train(), inputs) for flag in (False, True)
    )
    assert kept.keys() == recomputed.keys()
    for name, gradient in kept.items():
        torch.testing.assert_close(recomputed[name], gradient, msg=name)


def test_drop_path_grows_with_depth_and_skips_whole_samples():
    model = backbone(drop_path=0.4)
    blocks = model.beit3.encoder.layers
    assert [block.drop_path.drop_prob for block in blocks] == pytest.approx([0, 0.2, 0.4])
    states = torch.randn(64, 17, 48), torch.randn(64, 5, 48)
    torch.manual_seed(0)
    added = blocks[2].train()._add(states, (torch.ones_like(states[0]), torch.ones_like(states[1])))
    steps = [(after - before).flatten(1) for after, before in zip(added, states, strict=True)]
    for step in steps:
        assert torch.allclose(step, step[:, :1].expand_as(step), atol=1e-5)
    picture, words = (step[:, 0] for step in steps)
    assert torch.allclose(picture, words, atol=1e-5)  # one draw for both branches
    assert {round(value, 3) for value in picture.tolist()} == {0.0, round(1 / 0.6, 3)}
    assert 20 <= (picture > 0).sum() <= 55


def test_bf16_stays_near_float32_and_compares_in_float32():
    model, inputs = backbone(), tiny.inputs(4)
    exact = model(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(inputs)
    for name in ("similarity", "visual_aligned", "text_aligned", "image", "sentence"):
        assert getattr(rough, name).dtype == torch.float32
    lengths = rough.visual_aligned.norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths), rtol=0, atol=1e-5)
    assert (rough.similarity - exact.similarity).abs().max() < 0.02
    wholly = backbone().bfloat16()({**inputs, "images": inputs["images"].bfloat16()})
    assert wholly.similarity.dtype == torch.float32
    assert (wholly.similarity - exact.similarity).abs().max() < 0.05


def test_gelu_of_half_types_is_computed_in_float32():
    values = torch.randn(4096).bfloat16()
    assert torch.equal(F.gelu(values), F.gelu(values.float()).bfloat16())


def test_what_no_head_reads_is_frozen():
    def frozen(needs, **options):
        model = backbone()
        model.train_for(needs, **options)
        return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}

    mask_token = "beit3.vision_embed.mask_token"
    heads = {"vision_head.weight", "language_head.weight", "logit_scale"}
    assert frozen(("visual", "similarity")) == {mask_token, "logit_scale"}
    assert frozen(("visual", "sentence")) == {mask_token, "logit_scale", "vision_head.weight"}
    assert frozen(("image", "sentence", "contrast_scale"), masking=True) == set()
    assert frozen(("visual",)) == {mask_token} | heads


@torch.no_grad()
def test_without_projections_it_is_a_plain_beit3():
    features = backbone(projections=False)(tiny.inputs(2))
    for name in ("image", "sentence", "similarity", "visual_aligned", "text_aligned", "contrast_scale"):
        assert getattr(features, name) is None
    assert not [name for name in backbone(projections=False).state_dict() if not name.startswith("beit3.")]


def test_hivg_takes_it_as_a_backbone():
    config = tiny.hivg_config(
        backbone={
            "type": BEiT3Backbone,
            "size": tiny.BEIT3_SIZE,
            "pad_id": 0,
            "visual_levels": (1, 3),
            "projections": False,
        }
    )
    model = tiny.build(config)
    losses = model(tiny.inputs(2), tiny.samples(2), mode="loss")
    sum(losses.values()).backward()
    assert model.backbone.beit3.encoder.layers[0].ffn["A"].fc1.weight.grad.any()
    assert model(tiny.inputs(2), tiny.samples(2), mode="predict")[0].boxes.shape == (1, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"token_padding": torch.zeros(2, 3)}, "token_padding: expected"),
        ({"patch_masked": torch.zeros(2, 9)}, r"patch_masked: expected \(2, 16\), got \(2, 9\)"),
        ({"token_ids": torch.zeros(2, 5, dtype=torch.int64)}, r"rows \[0, 1\] of the batch have no tokens"),
        ({"token_ids": torch.full((2, 5), 40)}, "run from 40 to 40, the model has 40 rows"),
        ({"token_ids": torch.full((2, 5), -1)}, "another tokenizer"),
        ({"token_ids": torch.ones(2, 13, dtype=torch.int64)}, "takes 1 to 12"),
        ({"images": torch.zeros(2, 3, 30, 32)}, "multiples of the patch"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        backbone()({**{k: v for k, v in tiny.inputs(2).items() if k != "padding"}, **change})


@torch.no_grad()
def test_another_picture_size_at_run_time_equals_weights_resized_on_loading(tmp_path):
    model = backbone()
    file = save_weights(model, tmp_path / "small.safetensors")
    larger = backbone(seed=1, image_size=48, weights=file)
    assert larger.beit3.encoder.embed_positions["A"].weight.shape == (3 + 36, 48)
    inputs = {"images": torch.randn(2, 3, 48, 48), "token_ids": tiny.inputs(2)["token_ids"]}
    assert_same(model(inputs), larger(inputs))


def test_resizing_keeps_three_rows_and_a_fitting_table():
    table = torch.randn(3 + 16, 8)
    assert resize_positions(table, (4, 4)) is table
    resized = resize_positions(table.half(), (6, 4))
    assert resized.shape == (3 + 24, 8) and resized.dtype == torch.float32
    torch.testing.assert_close(resized[:3], table.half()[:3].float(), rtol=0, atol=0)
    with pytest.raises(WeightError, match="18 rows is not 3 \\+ a square"):
        resize_positions(torch.randn(18, 8), (4, 4))


def test_sizes():
    base, large = PUBLISHED["base"], PUBLISHED["large"]
    assert (base.feedforward, base.grid) == (3072, (24, 24))
    assert (large.width, large.layers, large.heads) == (1024, 24, 16)
    assert beit3_size("base", 224).grid == (14, 14)
    assert beit3_size(base) is base
    for size, message in [
        ("huge", "published: base, large"),
        ({"width": 8, "layers": 1, "heads": 2, "depth": 3}, "unknown depth; known: width"),
        ({"width": 8}, "layers"),
        ({"width": 9, "layers": 1, "heads": 2}, "cannot be split"),
        ({"width": 8, "layers": 1, "heads": 2, "image_size": 30}, "not a multiple"),
        ({"width": 8, "layers": 1, "heads": 2, "text_positions": 65}, "needs 66 text positions"),
    ]:
        with pytest.raises(BEiT3SizeError, match=message):
            beit3_size(size)
    with pytest.raises(ValueError, match="expected numbers from 0"):
        backbone(visual_levels=(4,))


class TestWeights:
    """Starting from a file."""

    def published(self, model):
        """As plain BEiT-3 is released: half precision, pre-training heads, no projections."""
        state = {
            name: value.half() for name, value in model.state_dict().items() if name.startswith("beit3.")
        }
        return state | {"mlm_head.weight": torch.zeros(40, 48), "mim_head.bias": torch.zeros(7)}

    @torch.no_grad()
    def test_a_released_file_fills_the_transformer_and_leaves_the_projections(self, tmp_path, caplog):
        source = backbone()
        torch.save({"model": self.published(source)}, tmp_path / "beit3.pth")
        caplog.set_level("INFO")
        loaded = backbone(seed=1, weights=tmp_path / "beit3.pth")
        fresh = backbone(seed=1)
        for name, value in loaded.state_dict().items():
            expected = source if name.startswith("beit3.") else fresh
            torch.testing.assert_close(value, expected.state_dict()[name], rtol=1e-3, atol=1e-3)
        assert "language_head.weight, logit_scale, vision_head.weight: they start from random" in caplog.text

    @torch.no_grad()
    def test_a_whole_model_lends_its_backbone(self, tmp_path):
        model = tiny.build(tiny.oneref_config())
        save_weights(model, tmp_path / "oneref.safetensors")
        loaded = backbone(seed=1, weights=tmp_path / "oneref.safetensors")
        assert all(torch.equal(v, model.backbone.state_dict()[k]) for k, v in loaded.state_dict().items())
        plain = backbone(seed=1, weights=tmp_path / "oneref.safetensors", projections=False)
        assert torch.equal(plain.beit3.text_embed.weight, model.backbone.beit3.text_embed.weight)

    def test_files_of_another_family_are_refused(self, tmp_path):
        torch.manual_seed(0)
        save_weights(CLIPBackbone(tiny.SIZE), tmp_path / "clip.safetensors")
        with pytest.raises(WeightError, match=r"no BEiT-3 in it \(names begin with clip"):
            backbone(weights=tmp_path / "clip.safetensors")

    def test_truncated_and_absent_files_are_refused(self, tmp_path):
        file = save_weights(backbone(), tmp_path / "beit3.safetensors")
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(WeightError, match="cut short"):
            backbone(weights=file)
        with pytest.raises(WeightError, match="no weight file"):
            backbone(weights=tmp_path / "nothing.pth")

    def test_wrong_shapes_and_missing_tensors_are_named(self, tmp_path):
        state = self.published(backbone())
        del state["beit3.encoder.layer_norm.B.bias"]
        state["beit3.text_embed.weight"] = torch.zeros(50, 48)
        torch.save(state, tmp_path / "other.pth")
        with pytest.raises(WeightError) as error:
            backbone(weights=tmp_path / "other.pth")
        assert "beit3.text_embed.weight: (50, 48) in the file, (40, 48) in the model" in str(error.value)
        assert "1 missing in the file:\n  beit3.encoder.layer_norm.B.bias" in str(error.value)

    def test_a_larger_model_is_refused(self, tmp_path):
        deeper = {**tiny.BEIT3_SIZE, "layers": 4}
        save_weights(backbone(size=deeper), tmp_path / "deeper.safetensors")
        with pytest.raises(WeightError, match="unknown to the model"):
            backbone(weights=tmp_path / "deeper.safetensors")


class TestHiLoRA:
    """Low-rank adaptation of both branches."""

    BLOCKS = "backbone.beit3.encoder.layers"

    def model(self):
        adapters = HiLoRA(
            preset=None,
            groups={self.BLOCKS: 3},
            targets=("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
            frozen=("backbone.beit3",),
            rank=2,
            dropout=0.0,
        )
        torch.manual_seed(0)
        return MODELS.build(tiny.oneref_config(adapters=adapters)).eval()

    def test_stages_open_both_branches_block_by_block(self):
        model = self.model()
        model.enter_stage({"adapt": 1})
        opened = adapted_names(model)
        assert len(opened) == 2 * 6 and all(name.startswith(f"{self.BLOCKS}.0.") for name in opened)
        assert sum(".A" in name for name in opened) == 6
        model.enter_stage({"adapt": 3})
        assert len(adapted_names(model)) == 3 * 2 * 6

    def test_adapters_change_nothing_at_first_then_learn_and_merge(self):
        model, inputs, samples = self.model(), tiny.inputs(2), tiny.samples(2)
        with torch.no_grad():
            before = model(inputs)["similarity"]
        model.enter_stage({"adapt": 2})
        with torch.no_grad():
            torch.testing.assert_close(model(inputs)["similarity"], before, **EXACT)
        sum(model(inputs, samples, mode="loss").values()).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is None or ".lora_" in name or not name.startswith("backbone.beit3."), name
            if ".lora_B." in name and ".layers.1." in name:
                assert parameter.grad.any(), name
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if ".lora_B." in name:
                    parameter.normal_()
            adapted = model(inputs)["similarity"]
            assert (adapted - before).abs().max() > 1e-3
            model.adapters.merge(model)
            torch.testing.assert_close(model(inputs)["similarity"], adapted, rtol=0, atol=1e-5)
        assert adapted_names(model) == []


@pytest.mark.parametrize("std", [0.02, 0.08])
def test_linear_layers_begin_with_the_deviation_that_the_size_names(std):
    model = backbone(size={**tiny.BEIT3_SIZE, "linear_std": std})
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    weights = torch.cat([layer.weight.detach().flatten() for layer in layers])
    assert weights.abs().max() <= std
    assert float(weights.std()) == pytest.approx(0.54 * std, rel=0.02)  # of a normal cut at one deviation
    assert not any(layer.bias.any() for layer in layers if layer.bias is not None)


@torch.no_grad()
def test_a_modality_gap_keeps_what_sentences_say_alone():
    """The wider, the nearer to the language branch alone; without one the weights stay as they are."""
    inputs = tiny.inputs(2)
    distances = []
    for gap in (0.0, 4.0, 12.0):
        model = backbone(modality_gap=gap)
        alone = model.read(inputs["token_ids"], inputs["token_ids"] != 0)[:, 0]
        distances.append((model(inputs).sentence - alone).abs().max().item())
    without, some, wide = distances
    assert wide < some < without and wide < 1e-3
    plain, untouched = (backbone(**given).state_dict() for given in ({}, {"modality_gap": 0.0}))
    assert all(torch.equal(plain[name], value) for name, value in untouched.items())


def test_smooth_positions_are_alike_where_patches_are_near():
    size = {**tiny.BEIT3_SIZE, "position_std": 0.3, "smooth_positions": True}
    table = backbone(size=size).beit3.encoder.visual_positions((4, 4))[1:].detach()
    torch.testing.assert_close(table.std(), torch.tensor(0.3))
    distances = torch.cdist(table, table)
    row, column = torch.arange(16) // 4, torch.arange(16) % 4
    apart = (row[:, None] - row).abs() + (column[:, None] - column).abs()
    means = [distances[apart == step].mean() for step in (1, 2, 3)]
    assert means[0] < means[1] < means[2]
