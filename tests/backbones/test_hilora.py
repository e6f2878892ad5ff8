"""HiLoRA on a CLIP with bridges, on a plain vision transformer, and on its own: groups, stages, merging, loading."""

from __future__ import annotations

import re

import pytest
import timm
import tiny_models as tiny
import torch
from torch import nn

from refkit.backbones import AdapterError, CLIPBackbone, CrossModalBridge, HiLoRA
from refkit.backbones.hilora import adapted_names, without_adapters
from refkit.backbones.hilora_groups import equal_groups, resolve_groups
from refkit.engine import load_config
from refkit.registry import MODELS
from refkit.zoo.weights import WeightError, load_weights

VISION = "backbone.clip.vision_model.encoder.layers"
TEXT = "backbone.clip.text_model.encoder.layers"
GROUPS = {VISION: [[0], [0, 1], [0, 1, 2]]}
BRIDGE = {"type": CrossModalBridge, "blocks": [0, 2], "text_levels": [2]}


def hivg(preset="published", **options):
    backbone = {"type": CLIPBackbone, "size": tiny.SIZE, "visual_levels": (1, 2, 3), "bridge": BRIDGE}
    adapters = {"type": HiLoRA, "preset": preset, "groups": GROUPS, "rank": 4, **options}
    return tiny.build(tiny.hivg_config(backbone=backbone, adapters=adapters)).eval()


def inputs():
    batch = tiny.inputs(3)
    ids = torch.zeros(3, tiny.SIZE["context_length"], dtype=torch.int64)  # bridges attend to every position
    ids[:, : batch["token_ids"].shape[1]] = batch["token_ids"]
    return {**batch, "token_ids": ids}


@torch.no_grad()
def outputs(model):
    named = model.eval()(inputs())
    return torch.cat([value.flatten() for value in named.values() if value.is_floating_point()])


@torch.no_grad()
def perturb(model):
    """As training would: B is no longer zero."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))


def trained(model, part=""):
    return {name for name, p in model.named_parameters() if p.requires_grad and name.startswith(part)}


def layers_of(names):
    return {name.partition(".lora_")[0] for name in names}


def structure(model):
    return [(name, type(module)) for name, module in model.named_modules()]


def test_trainable_sets_of_the_published_stages():
    """The table of the released code: CLIP's own weights never, bridges and all outside CLIP always."""
    model = hivg()
    own = {name for name, _ in model.named_parameters() if not name.startswith("backbone.clip")}
    attention = [f"{block}.attention.{p}_proj" for block in ("0", "2") for p in ("q", "k", "v", "out")]
    bridges = {f"backbone.bridges.{name}" for name in attention}
    text = {f"{TEXT}.{block}.self_attn.{p}_proj" for block in range(2) for p in ("q", "k", "v", "out")}
    assert trained(model) == own
    for stage in range(4):
        model.enter_stage({"adapt": stage})
        vision = {
            f"{VISION}.{block}.self_attn.{p}_proj" for block in range(stage) for p in ("q", "k", "v", "out")
        }
        opened = bridges | (text | vision if stage else set())
        matrices = {name for name in trained(model) if ".lora_" in name}
        assert layers_of(matrices) == opened and len(matrices) == 2 * len(opened)
        assert {without_adapters(name) for name in trained(model) - matrices} == own


def test_bridges_without_attention_have_nothing_to_adapt():
    backbone = {"type": CLIPBackbone, "size": tiny.SIZE, "bridge": {**BRIDGE, "cross_attention": False}}
    model = tiny.build(tiny.hivg_config(backbone=backbone, adapters={"type": HiLoRA, "groups": GROUPS}))
    model.enter_stage({"adapt": 0})
    assert adapted_names(model) == [] and trained(model, "backbone.bridges")


def test_paper_stages_adapt_fully_connected_layers_and_no_bridge():
    model = hivg("paper")
    model.enter_stage({})
    assert adapted_names(model) == []
    model.enter_stage({"adapt": 2})
    names = {f"self_attn.{p}_proj" for p in "qkv"} | {"mlp.fc1", "mlp.fc2"}
    blocks = [f"{VISION}.{block}" for block in range(2)] + [f"{TEXT}.{block}" for block in range(2)]
    assert set(adapted_names(model)) == {f"{block}.{name}" for block in blocks for name in names}


def test_entering_a_stage_changes_no_output_and_no_generator():
    model = hivg()
    before, state = outputs(model), torch.get_rng_state()
    for stage in (1, 2, 3):
        model.enter_stage({"adapt": stage})
    assert torch.equal(outputs(model), before) and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("preset", ["published", "paper"])
def test_merged_equals_unmerged_and_leaves_a_plain_model(preset):
    plain, model = hivg(preset), hivg(preset)
    model.enter_stage({"adapt": 3})
    perturb(model)
    adapted = outputs(model)
    assert (adapted - outputs(plain)).abs().max() > 1e-3
    model.settle()
    assert (outputs(model) - adapted).abs().max() < 1e-5
    assert structure(model) == structure(plain)
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in plain.parameters())


def test_merging_adds_the_scaled_product():
    model = hivg(rank=2, alpha=6)
    model.enter_stage({"adapt": 1})
    perturb(model)
    layer = model.get_submodule(f"{VISION}.0.self_attn.q_proj")
    a, b = (matrix["default"].weight.detach() for matrix in (layer.lora_A, layer.lora_B))
    expected = layer.base_layer.weight + 6 / 2 * b @ a
    model.settle()
    merged = model.get_submodule(f"{VISION}.0.self_attn.q_proj")
    assert type(merged) is nn.Linear
    torch.testing.assert_close(merged.weight, expected)


def test_kept_matrices_go_on_and_fresh_ones_start_anew():
    kept, fresh = hivg(fresh=False), hivg(fresh=True)
    name = f"{VISION}.0.self_attn.q_proj"
    for model in (kept, fresh):
        model.enter_stage({"adapt": 1})
        perturb(model)
    weight = {model: model.get_submodule(name).base_layer.weight.clone() for model in (kept, fresh)}
    first, answers = kept.get_submodule(name).lora_A["default"].weight.clone(), outputs(fresh)
    for model in (kept, fresh):
        model.enter_stage({"adapt": 2})
    layer = kept.get_submodule(name)
    assert torch.equal(layer.lora_A["default"].weight, first) and layer.lora_B["default"].weight.any()
    assert torch.equal(layer.base_layer.weight, weight[kept])
    layer = fresh.get_submodule(name)
    assert not torch.equal(layer.lora_A["default"].weight, first) and not layer.lora_B["default"].weight.any()
    assert not torch.equal(layer.base_layer.weight, weight[fresh])
    assert (outputs(fresh) - answers).abs().max() < 1e-5


def test_values_depend_on_seed_stage_and_name_alone():
    def matrix(block=0, stage=1, **options):
        torch.manual_seed(torch.seed())
        model = hivg(fresh=True, **options)
        model.enter_stage({"adapt": stage})
        return model.get_submodule(f"{VISION}.{block}.self_attn.q_proj").lora_A["default"].weight

    one = matrix()
    assert torch.equal(one, matrix())
    others = [matrix(seed=1), matrix(stage=2), matrix(block=1, stage=2), matrix(init="gaussian")]
    assert not any(torch.equal(one, other) for other in others)
    assert one.abs().max() <= tiny.SIZE["vision"]["width"] ** -0.5  # Kaiming-uniform with a = sqrt 5
    assert 0.15 < others[-1].std() < 0.35  # deviation 1 / rank


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_weights_of_any_stage_load_into_any_other(stage, tmp_path):
    source = hivg()
    source.enter_stage({"adapt": stage})
    perturb(source)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    for start in (None, 1, 3):
        target = hivg()
        if start is not None:
            target.enter_stage({"adapt": start})
        load_weights(target, tmp_path / "weights.pth")
        assert adapted_names(target) == adapted_names(source)
        assert torch.equal(outputs(target), outputs(source))


def test_merged_weights_load_into_an_adapted_model():
    source, target = hivg(), hivg()
    source.enter_stage({"adapt": 3})
    perturb(source)
    source.settle()
    target.enter_stage({"adapt": 2})
    load_weights(target, source.state_dict())
    assert adapted_names(target) == [] and torch.equal(outputs(target), outputs(source))


def test_keys_are_those_of_peft():
    model = hivg()
    model.enter_stage({"adapt": 1})
    name = f"{TEXT}.1.self_attn.out_proj"
    keys = {key.removeprefix(f"{name}.") for key in model.state_dict() if key.startswith(name)}
    assert keys == {
        "base_layer.weight", "base_layer.bias", "lora_A.default.weight", "lora_B.default.weight",
    }  # fmt: skip
    assert not hasattr(model, "peft_config")


def test_weights_that_do_not_fit_are_refused_by_name():
    model = hivg()
    model.enter_stage({"adapt": 1})
    state = model.state_dict()
    only = {name: value for name, value in state.items() if ".lora_" in name}
    with pytest.raises(AdapterError, match="adapters and nothing else"):
        model.fit_adapters(only)
    with pytest.raises(AdapterError, match=r"adapt 1 layers that the model lacks, as backbone\.none"):
        load_weights(hivg(), {**state, "backbone.none.lora_A.default.weight": torch.zeros(1)})
    with pytest.raises(
        WeightError, match=r"lora_A\.default\.weight: \(4, 32\) in the file, \(8, 32\) in the model"
    ):
        load_weights(hivg(rank=8), state)
    bare = tiny.build(tiny.hivg_config(backbone={"type": CLIPBackbone, "size": tiny.SIZE, "bridge": BRIDGE}))
    with pytest.raises(
        AdapterError, match=r"16 adapters that are not merged.*build the model with adapters="
    ):
        load_weights(bare, {k: v for k, v in state.items() if "clip.text" in k or "bridges" in k})


def test_parts_left_out_carry_and_train_nothing():
    model = hivg()
    model.enter_stage({"adapt": 1, "without": ["backbone.bridges", "heads.box"]})
    assert not any("bridges" in name or name.startswith("heads") for name in trained(model))
    assert not any("bridges" in name for name in adapted_names(model))
    assert model.backbone.bridging is False
    model.enter_stage({"adapt": 2})
    assert any("bridges" in name for name in adapted_names(model)) and trained(model, "heads.box")
    assert model.backbone.bridging is True
    model.settle(["backbone.bridges"])
    assert model.backbone.bridging is False and model.without == {"backbone.bridges"}


def test_blocks_that_are_not_run_are_not_adapted():
    backbone = {"type": CLIPBackbone, "size": tiny.SIZE, "visual_levels": (1, 2)}
    adapters = {"type": HiLoRA, "groups": {VISION: 1}, "rank": 4}
    model = tiny.build(tiny.hivg_config(backbone=backbone, adapters=adapters))
    model.enter_stage({"adapt": 1})
    blocks = {name.removeprefix(f"{VISION}.")[0] for name in adapted_names(model) if name.startswith(VISION)}
    assert blocks == {"0", "1"}


def test_frozen_parts_keep_the_dropout_of_their_adapters():
    model = hivg()
    model.freeze = ("backbone.clip",)
    model.enter_stage({"adapt": 1})
    model.train()
    layer = model.get_submodule(f"{VISION}.0.self_attn.q_proj")
    assert layer.lora_A["default"].training and not layer.training


def test_every_opened_matrix_gets_a_gradient_and_nothing_else_of_clip():
    model = hivg()
    model.enter_stage({"adapt": 3})
    perturb(model)
    losses = model(inputs(), tiny.samples(3), mode="loss")
    sum(value for name, value in losses.items() if "loss" in name).backward()
    received = {name for name, p in model.named_parameters() if p.grad is not None}
    assert received == trained(model)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((12, 3, "shallow-first"), [range(4), range(8), range(12)]),
        ((24, 4, "shallow-first"), [range(6), range(12), range(18), range(24)]),
        ((12, 3, "deep-first"), [range(8, 12), range(4, 12), range(12)]),
        ((12, 1, "shallow-first"), [range(12)]),
        ((3, 2, "shallow-first"), [range(2), range(3)]),
    ],
)
def test_equal_groups(arguments, expected):
    assert equal_groups(*arguments) == [list(blocks) for blocks in expected]


class Tower(nn.Module):
    """Blocks without a task."""

    def __init__(self, blocks):
        super().__init__()
        self.blocks = nn.ModuleList(nn.ModuleDict({"fc": nn.Linear(2, 2)}) for _ in range(blocks))


@pytest.mark.parametrize("blocks", [12, 24])
def test_groups_of_the_presets(blocks):
    model = Tower(blocks)
    released = resolve_groups(model, {"blocks": "published"}, "shallow-first")["blocks"]
    assert released == [list(range(5)), list(range(8)), list(range(12))]
    paper = resolve_groups(model, {"blocks": "paper"}, "shallow-first")["blocks"]
    assert [len(stage) for stage in paper] == {12: [4, 8, 12], 24: [6, 12, 18, 24]}[blocks]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"groups": {"block": 1}}, "Tower has no 'block'; nearest: blocks"),
        ({"groups": {"blocks": 9}}, "9 groups of the 4 blocks"),
        ({"groups": {"blocks": [[0], [4]]}}, r"\(4 blocks, from 0 to 3\) has no block 4"),
        ({"groups": {"blocks": [[0], []]}}, "needs at least one block in each stage"),
        ({"groups": {"blocks": "paper"}}, r"made for 12 or 24 blocks, 'blocks' has 4: give groups, such as"),
        ({"groups": {"blocks": 1, "blocks.0": [[0], [0]]}}, "the same number of stages"),
        ({"targets": ["q_proj"]}, r"'blocks\.0' has no linear layer called q_proj: set targets"),
        ({"whole": ["neck"]}, "Tower has no 'neck'"),
        ({"always": ["neck"]}, "Tower has no 'neck'"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(options, complaint):
    hilora = HiLoRA(None, **{"groups": {"blocks": 1}, "targets": ["fc"], **options})
    with pytest.raises(AdapterError, match=complaint):
        hilora.enter(Tower(4), 1)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"preset": "papr"}, "preset='papr'; expected published, paper or None"),
        ({"preset": None}, "without a preset, groups and targets must be given"),
        ({"init": "zeros"}, "init='zeros'; expected kaiming or gaussian"),
        ({"order": "random"}, "order='random'"),
        ({"rank": 0}, "need rank ≥ 1"),
        ({"dropout": 1.0}, "need rank ≥ 1, alpha > 0 and 0 ≤ dropout < 1, got 32, 16 and 1.0"),
    ],
)
def test_wrong_arguments_are_refused(options, complaint):
    with pytest.raises(AdapterError, match=complaint):
        HiLoRA(**options)


def test_any_model_with_named_blocks():
    """A plain timm vision transformer: no task, fused query-key-value projection, fresh matrices."""
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=4, num_classes=5).eval()
    plain = structure(model)
    picture = torch.randn(2, 3, 32, 32)
    hilora = HiLoRA(
        None, groups={"blocks": 2}, order="deep-first", targets=["attn", "fc1"], fresh=True, rank=2
    )
    assert hilora.stages(model) == 2 and hilora.opened(model, 0) == []
    names = hilora.enter(model, 1)
    assert names == [f"blocks.{b}.{n}" for b in (2, 3) for n in ("attn.qkv", "attn.proj", "mlp.fc1")]
    perturb(model)
    with torch.inference_mode():
        before = model(picture)
    assert len(hilora.enter(model, 2)) == 12
    hilora.merge(model)
    with torch.inference_mode():
        assert (model(picture) - before).abs().max() < 1e-5
    assert structure(model) == plain
    hilora.fit(model, ["head.weight", "blocks.1.attn.qkv.lora_A.default.weight"])
    assert adapted_names(model) == ["blocks.1.attn.qkv"]
    with pytest.raises(AdapterError, match="stage 3; this model has stages 0 to 2"):
        hilora.enter(model, 3)


def test_example_of_the_page(repository):
    page = (repository / "docs" / "pages" / "hilora.md").read_text("utf-8")
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "timm" in block)
    names: dict = {}
    exec(example, names)
    assert len(names["layers"]) == 3 * 4 and adapted_names(names["model"]) == []


def test_trained_parameters_of_the_released_base_model():
    """As counted in the official model, which also trains tensors that nothing uses: 0.848 M for RefCOCO."""
    config = load_config("hivg/hivg_base_refcoco").to_dict()["model"]
    config["backbone"]["weights"] = config["data_preprocessor"] = None
    with torch.device("meta"):
        model = MODELS.build(config)
    unused = 2 * (768 * 512 + 768) + 512 + 77 * 768
    counted = []
    for stage in range(4):
        model.enter_stage({"adapt": stage})
        counted.append(
            round((unused + sum(p.numel() for p in model.parameters() if p.requires_grad)) / 1e6, 2)
        )
    assert counted == [59.69, 62.25, 62.84, 63.62]
