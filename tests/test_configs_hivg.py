"""Configs of HiVG: headers against the published tables, sizes against the published models, stages and data."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from pretend_records import pretend_records
from shipped_configs import CONFIG_FOLDER, ConfigFolder

from refkit.data.transforms import Letterbox
from refkit.engine import build_runner
from refkit.engine.config import load_config
from refkit.registry import MODELS

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = CONFIG_FOLDER
header_of = ConfigFolder(CONFIG_FOLDER).header_of
GOLDEN = json.loads((REPOSITORY / "tests" / "golden" / "hivg_published.json").read_text("utf-8"))
MAIN = sorted(name for name in GOLDEN if "/ablation/" not in name)
ABLATION = sorted(name for name in GOLDEN if "/ablation/" in name)
DATA_SETS = {"RefCOCO": "refcoco", "RefCOCO+": "refcocoplus", "RefCOCOg": "refcocog", "ReferIt": "referit"}
DATA_SETS["Flickr30k"] = "flickr"


def published_in(header: str) -> dict[str, float] | None:
    """``Published Acc@0.5: val 1.00, test 2.00.`` → by split, or by data set and split; None without one."""
    match = re.search(r"Published Acc@0\.5: (.+?)\.(?= |$)", header)
    if match is None:
        return None
    groups = [group.strip() for group in match[1].split(";")]
    values: dict[str, float] = {}
    for group in groups:
        name, _, rest = group.partition(" ")
        prefix = f"{DATA_SETS[name]}_" if name in DATA_SETS else ""
        for item in (rest if prefix else group).split(","):
            split, value = item.split()
            values[prefix + split] = float(value)
    return values


def test_every_config_of_hivg_is_a_row_or_says_that_it_is_none():
    names = {file.relative_to(FOLDER).with_suffix("").as_posix() for file in (FOLDER / "hivg").rglob("*.py")}
    rest = names - GOLDEN.keys()
    assert GOLDEN.keys() <= names
    assert rest == {"hivg/hivg_base_refcoco_res", "hivg/hivg_small_real_pictures"}
    assert "no published value" in header_of("hivg/hivg_base_refcoco_res")


def test_every_main_row_has_a_config():
    sets = ("refcoco", "refcocoplus", "refcocog", "referit", "flickr30k", "mixture")
    rows = {f"hivg/hivg_{size}_{data}" for size in ("base", "large") for data in sets}
    assert set(MAIN) == rows | {f"{row}_paper" for row in rows}


@pytest.mark.parametrize("name", GOLDEN)
def test_header_names_table_row_and_published_values(name):
    header, golden = header_of(name), GOLDEN[name]
    rows = golden["rows"] or []
    if golden["table"] is None:
        assert "no row of the paper's tables" in header
    else:
        assert re.search(rf"Table {golden['table']}\b", header)
    if len(rows) == 1:
        assert f"Table {golden['table']}, row {rows[0]}" in header
    assert published_in(header) == golden["published"]
    if golden["published"] is None:
        assert "no published value" in header.lower()


@pytest.mark.shared
def test_golden_values_are_those_of_the_specification(shared):
    text = (shared / "spec" / "hivg.md").read_text("utf-8")
    block = next(part for part in re.findall(r"```yaml\n(.*?)```", text, re.S) if "hivg_results" in part)
    results = yaml.safe_load(block)["hivg_results"]
    checked = 0
    for name, golden in GOLDEN.items():
        if not golden["published"]:
            continue
        values = results
        for key in golden["source"].split("."):
            values = values[int(key)] if isinstance(values, list) else values[key]
        if columns := golden.get("columns"):
            values = [values[results["columns"].index(column)] for column in columns]
        values = values if isinstance(values, list) else [values]
        assert list(golden["published"].values()) == values, name
        checked += 1
    assert checked == 12 + 22


@pytest.mark.shared
def test_rows_are_those_of_the_paper_s_tables(shared):
    seed = yaml.safe_load((shared / "leaderboard_seed.yaml").read_text("utf-8"))
    printed = {entry["id"]: entry["results"] for entry in seed["ablations"]}
    for name in ABLATION:
        golden = GOLDEN[name]
        if golden["published"]:
            (row,) = golden["rows"]
            assert printed[f"ablation/hivg-t{golden['table']}/{row}"] == {"refcocog-umd": golden["published"]}


def on_meta(name: str):
    """The model of a config without memory for its parameters."""
    config = load_config(name)
    config.model.backbone.weights = None
    with torch.device("meta"):
        return MODELS.build(config.model)


def enter(model, stage) -> None:
    with torch.device("meta"):
        model.enter_stage(stage)


def count(parameters) -> int:
    return sum(parameter.numel() for parameter in parameters)


def trained(model) -> int:
    return count(part for part in model.parameters() if part.requires_grad)


VISION, SHARED = {"base": 768, "large": 1024}, {"base": 512, "large": 768}


def never_used(size: str, levels: int) -> int:
    """Parameters of the published model that no output depends on; refkit has none of them."""
    vision, shared = VISION[size], SHARED[size]  # the text tower is as wide as the shared space
    ml_text_feat_perceiver = vision * shared * levels + vision
    reg_pos_embed = shared
    condition_text_pos_embed = 77 * vision
    condition_text_proj = vision * shared + vision  # dataset-mixed models do use it
    return ml_text_feat_perceiver + reg_pos_embed + condition_text_pos_embed + condition_text_proj


def lora_of_blocks(size: str, blocks: int) -> int:
    """Rank 32 on four square projections of each block."""
    return blocks * 4 * 32 * 2 * VISION[size]


# Spec of HiVG, 2.1 and 4, in millions: all parameters, and those trained in HiLoRA stage k.
PUBLISHED_SIZES = [
    ("base", "refcoco", 1, 213.24, {0: 59.69, 1: 62.25, 2: 62.84, 3: 63.62}),
    ("base", "refcocog", 12, 236.61, {3: 86.99}),
    ("large", "refcoco", 1, 543.39, {0: 107.12, 1: 110.79, 2: 111.58, 3: 112.63}),
    ("large", "refcocog", 12, 589.25, {3: 158.48}),
]


@pytest.mark.parametrize(("size", "data", "levels", "everything", "stages"), PUBLISHED_SIZES)
def test_parameters_are_the_published_ones_without_the_unused(size, data, levels, everything, stages):
    model = on_meta(f"hivg/hivg_{size}_{data}")
    unused = never_used(size, levels)
    for stage in sorted(stages):
        enter(model, {"adapt": stage})
        assert (trained(model) + unused) / 1e6 == pytest.approx(stages[stage], abs=0.006)
    # The published large model carries matrices in blocks 12 to 23 too, which no stage ever opens.
    closed = lora_of_blocks(size, 12) if size == "large" else 0
    assert (count(model.parameters()) + unused + closed) / 1e6 == pytest.approx(everything, abs=0.006)


def test_warm_up_of_the_large_model_trains_neither_bridge_nor_region_text_head():
    """Published: 52.3 M, with an unused bridge projection of the text and the RTCC head, which has no loss then."""
    config = load_config("hivg/hivg_large_refcoco")
    model = on_meta("hivg/hivg_large_refcoco")
    enter(model, config.train_cfg.stages[0].model)
    region_text = count(model.heads["region_text"].parameters())
    assert (trained(model) + never_used("large", 1) + region_text) / 1e6 == pytest.approx(52.3, abs=0.06)
    names = {name for name, part in model.named_parameters() if part.requires_grad}
    assert not any(name.startswith(("backbone", "heads.region_text")) for name in names)


# Spec of HiVG, 8: epochs, learning rate in 1e-4 and batch per GPU of every stage.
RECIPES = {
    "base": [(60, 2.5, 80), (20, 1.0, 60), (20, 0.5, 60), (20, 0.25, 40)],
    "base flickr30k": [(30, 2.5, 80), (5, 1.0, 60), (5, 0.5, 60), (5, 0.25, 60)],
    "base mixture": [(60, 2.5, 64), (20, 1.0, 64), (20, 0.5, 64), (20, 0.2, 64)],
    "large": [(10, 2.5, 32), (60, 2.5, 32), (10, 1.0, 32), (10, 0.5, 32), (10, 0.25, 32)],
    "large referit": [(5, 2.5, 32), (60, 2.5, 32), (10, 1.0, 32), (10, 0.5, 32), (10, 0.25, 32)],
    "large flickr30k": [(10, 2.5, 32), (30, 2.5, 32), (5, 1.0, 32), (5, 0.5, 32), (5, 0.25, 32)],
    "large mixture": [(10, 2.5, 32), (30, 2.5, 32), (10, 1.0, 32), (10, 0.5, 32), (10, 0.2, 32)],
}
TEXT_LEVELS = {"refcocoplus": [6, 12], "referit": [6, 12], "refcocog": list(range(1, 13)), "mixture": []}


@pytest.mark.parametrize("name", [name for name in MAIN if not name.endswith("_paper")])
def test_main_rows_follow_the_released_recipe(name):
    _, size, data = name.split("/")[1].split("_")
    config = load_config(name)
    stages = [(stage.epochs, stage.lr * 1e4, stage.batch_size) for stage in config.train_cfg.stages]
    expected = RECIPES.get(f"{size} {data}", RECIPES[size])
    assert [part for stage in stages for part in stage] == pytest.approx(
        [part for stage in expected for part in stage]
    )
    bridge = config.model.backbone.bridge
    assert bridge.blocks == ([0, 3, 7, 11] if size == "base" else [4, 10, 16, 22])
    assert bridge.text_levels == TEXT_LEVELS.get(data, [12])
    assert bridge.published_batch_mixing is False
    assert bridge.get("source", "levels") == ("projected" if data == "mixture" else "levels")
    assert config.model.heads.box.regression == "l1"
    assert config.model.heads.mask.target == "box"
    assert config.model.data_preprocessor.trim_text is False
    assert config.optim_wrapper.precision == "float32"
    assert "clip_grad" not in config.optim_wrapper
    starts = {stage.get("start") for stage in config.train_cfg.stages[1:]}
    assert starts == ({"last"} if name.endswith("base_mixture") else {"best"})
    without = config.train_cfg.stages[0].model.get("without", [])
    assert ("backbone.bridges" in without) == (size == "large")
    assert ("heads.region_text" in without) == (size == "large" and data != "mixture")


@pytest.mark.parametrize("name", [name for name in MAIN if name.endswith("_paper")])
def test_paper_rows_follow_the_paper(name):
    size = name.split("/")[1].split("_")[1]
    model = load_config(name).model
    assert model.backbone.bridge.blocks == ([3, 7, 11] if size == "base" else [5, 11, 17, 23])
    assert model.backbone.bridge.text_levels == list(range(1, 13))
    assert model.heads.box.regression == "smooth_l1"
    assert "mask" not in model.heads
    assert model.adapters.preset == "paper"
    stages = load_config(name).train_cfg.stages
    assert [stage.model.adapt for stage in stages] == list(range(len(stages)))
    assert len(stages) == (4 if size == "base" else 5)
    assert stages[0].epochs == 50


@pytest.mark.parametrize("name", [f"hivg/hivg_{size}_mixture" for size in ("base", "large")])
def test_mixtures_leave_out_what_any_member_is_evaluated_on(name):
    dataset = load_config(name).train_dataloader.dataset
    assert dataset.exclude_evaluated is True
    members = [Path(member.records).name.removesuffix(".train.jsonl") for member in dataset.members]
    evaluated = {Path(file).name.removesuffix(".jsonl") for file in dataset.evaluates_on}
    splits = {
        member: ("val", "testA", "testB") if member.endswith(".unc") else ("val", "test")
        for member in members
    }
    assert len(members) == 5
    assert evaluated == {f"{member}.{split}" for member in members for split in splits[member]}


def test_evaluation_transform_is_the_letterbox_of_224():
    for name in MAIN:
        config = load_config(name)
        for loader in (config.val_dataloader, config.test_dataloader):
            assert loader.dataset.pipeline == [{"type": Letterbox, "size": 224}]


@pytest.mark.parametrize("name", ABLATION)
def test_an_ablation_differs_from_the_full_model_only_where_it_says_so(name):
    """Same data, optimizer and pictures as the full model."""
    full, config = load_config("hivg/hivg_base_refcocog").to_dict(), load_config(name).to_dict()
    differing = {key for key in full if full[key] != config.get(key)}
    assert differing <= {"model", "train_cfg"}
    assert differing


def shrunk(name: str, folder: Path):
    """A config of the large model with small towers, on two expressions, one epoch per stage."""
    config = load_config(name)
    tower = {"width": 32, "heads": 2}
    config.model.backbone.update(weights=None)
    config.model.backbone.size = {
        "embed": 32,
        "image_size": 224,
        "patch_size": 56,
        "vision": {**tower, "layers": 24},
        "text": {**tower, "layers": 12},
    }
    config.model.encoder.update(width=32, layers=1, heads=2, feedforward=32)
    records = str(pretend_records(folder))
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(records=records, image_root=str(folder))
    for stage in config.train_cfg.stages:
        stage.update(epochs=1, batch_size=2)
    return config


def test_the_large_recipe_trains_through_all_its_stages(tmp_path):
    config = shrunk("hivg/hivg_large_refcoco", tmp_path)
    build_runner(config, tmp_path / "run").train()
    lines = next((tmp_path / "run").rglob("scalars.json")).read_text("utf-8").splitlines()
    steps = {line["step"]: line for line in map(json.loads, lines) if "loss_bbox" in line}
    assert "loss_rtcc_focal" not in steps[1]
    assert "loss_rtcc_focal" in steps[2]
    assert {"loss_contrastive", "loss_seg_dice"} <= steps[1].keys()
    assert steps[1]["lr"] == pytest.approx(2.5e-4)
    assert steps[5]["lr"] == pytest.approx(2.5e-5)
    last = (tmp_path / "run" / "last_checkpoint").read_text("utf-8")
    assert Path(last.strip()).name == "iter_5.pth"
