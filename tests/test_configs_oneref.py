"""Configs of OneRef: headers against the published tables, recipes against the released ones, starts, stages."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
import yaml
from pretend_records import pretend_records
from published_weights import manifest
from shipped_configs import CONFIG_FOLDER, ConfigFolder
from stand_ins import shrunk, without_files

from refkit.backbones.beit3_weights import backbone_state
from refkit.data.transforms import Letterbox
from refkit.engine import build_runner
from refkit.engine.config import leaves, load_config
from refkit.registry import MODELS
from refkit.zoo.layouts import import_published

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = CONFIG_FOLDER / "oneref"
loaded, header_of = ConfigFolder(FOLDER).loaded, ConfigFolder(FOLDER).header_of
GOLDEN = json.loads((REPOSITORY / "tests" / "golden" / "oneref_published.json").read_text("utf-8"))
ROWS = sorted(GOLDEN)
RELEASED_ONLY = {
    f"oneref_{size}_{data}_mrefm" for size in ("base", "large") for data in ("referit", "flickr30k")
}
PRETRAINING = {f"mrefm_{size}_{kind}" for size in ("base", "large") for kind in ("rec", "res")}
OURS = {"mrefm_base_rec_paper", "oneref_base_joint_mixture"}
UNPUBLISHED = sorted(RELEASED_ONLY | PRETRAINING | OURS)
DATA_SETS = {"RefCOCO": "refcoco", "RefCOCO+": "refcoco+", "RefCOCOg": "refcocog"}
OF_NAME = {"refcocoplus": "refcoco+"}


def published_in(name: str, metric: str) -> dict[str, float] | None:
    """What the header says after ``Published <metric>:``, by data set and split."""
    match = re.search(rf"Published {re.escape(metric)}: (.+?)\.(?= |$)", header_of(name))
    if match is None:
        return None
    data = name.split("_")[2]
    values = {}
    for group in match[1].split("; "):
        first, _, rest = group.partition(" ")
        key, items = (DATA_SETS[first], rest) if first in DATA_SETS else (OF_NAME.get(data, data), group)
        for split, value in (item.split() for item in items.split(", ")):
            values[f"{key}/{split}"] = float(value)
    return values


def test_every_row_has_a_config_and_every_config_says_what_it_is():
    names = {file.stem for file in FOLDER.glob("*.py")}
    assert names == set(ROWS) | set(UNPUBLISHED) | {"oneref_small_real_pictures"}
    assert len(ROWS) == 20
    for name in UNPUBLISHED:
        assert "no published value" in header_of(name)
        assert "Published" not in header_of(name)


@pytest.mark.parametrize("name", ROWS)
def test_header_names_table_row_and_published_values(name):
    for row in GOLDEN[name]:
        assert re.search(rf"Table {row['table']}, row {row['row']}\b", header_of(name))
        assert published_in(name, row["metric"]) == row["values"]


@pytest.mark.parametrize("name", [*ROWS, *UNPUBLISHED])
def test_header_says_where_the_recipe_is_from_and_what_it_runs_on(name):
    header = header_of(name)
    assert re.search(r"[Rr]ecipe of the released scripts|from the released scripts|same coefficients", header)
    batches = [stage.batch_size for stage in loaded(name).train_cfg.stages]
    if name != "mrefm_base_rec_paper":
        assert f"Batch per GPU {batches[0]}, then {batches[1]}, on 8 GPUs." in header
    named = [value for key, value in leaves(loaded(name).to_dict()) if key.endswith(("weights", "load_from"))]
    own = [Path(value).name for value in named if value]
    lines = (FOLDER / f"{name}.py").read_text("utf-8")
    assert any(file in lines for file in own), f"how to make one of {own}"


@pytest.mark.shared
def test_golden_values_are_those_of_the_specification(shared):
    text = (shared / "spec" / "oneref.md").read_text("utf-8")
    block = next(part for part in re.findall(r"```yaml\n(.*?)```", text, re.S) if "table1_rec_single" in part)
    tables = {int(key[5]): table for key, table in yaml.safe_load(block).items()}
    wanted, checked = {}, {}
    for number in (1, 2, 3, 4):
        table = tables[number]
        rows = table["rows"] if "rows" in table else table["single"] + table["mixed"]
        for place, row in enumerate(rows, start=1):
            if row["method"].startswith("OneRef") and "unsupervised" not in row["method"]:
                wanted[number, place] = dict(zip(table["columns"], row["values"], strict=True))
    for rows in GOLDEN.values():
        for row in rows:
            checked.setdefault((row["table"], row["row"]), {}).update(row["values"])
    assert checked == wanted


@pytest.mark.shared
def test_every_row_of_the_leaderboard_s_seed_has_a_config(shared):
    """The seed is read from the poster, the configs from the authors' README: one value differs."""
    seed = yaml.safe_load((shared / "leaderboard_seed.yaml").read_text("utf-8"))
    entries = [part for part in seed["entries"] if part["method"] in ("OneRef-B", "OneRef-L")]
    assert len(entries) == 8
    sets = {"refcocog-umd": "refcocog", "referitgame": "referit", "flickr30k-entities": "flickr30k"}
    differing = []
    for entry in entries:
        place = int(entry["source"]["table"].split()[1]), entry["source"]["row"]
        ours: dict[str, float] = {}
        for row in (row for rows in GOLDEN.values() for row in rows):
            ours |= row["values"] if (row["table"], row["row"]) == place else {}
        for data, splits in entry["results"].items():
            for split, value in splits.items():
                key = f"{sets.get(data, data)}/{split}"
                if ours.pop(key) != value:
                    differing.append((place, key, value))
        assert not ours
    assert differing == [((3, 10), "refcocog/test", 72.76)]
    assert "72.76" in header_of("oneref_large_refcocog_res")


def second_batch(name: str) -> int:
    """Spec of OneRef, 9: batch per GPU once everything is trained."""
    if "large" in name:
        return 8
    whole = ("mixture", "mrefm", "referit", "flickr30k")
    return 32 if any(word in name for word in whole) else 24


@pytest.mark.parametrize("name", [*ROWS, *UNPUBLISHED])
def test_schedule_is_the_released_one(name):
    config = loaded(name)
    stages = [(stage.epochs, stage.lr, stage.batch_size) for stage in config.train_cfg.stages]
    pretraining = name.startswith("mrefm")
    rate = 5e-5 if pretraining and "base" in name else 3e-5
    assert stages == [(10, 2.5e-4, 64), (100 if pretraining else 20, rate, second_batch(name))]
    assert config.train_cfg.stages[0].model["freeze"] == ["backbone.beit3"]
    assert config.train_cfg.stages[1].model == {}
    assert config.train_cfg.stages[1].start == ("last" if pretraining else "best")
    optimizer = {key: config.optim_wrapper.optimizer[key] for key in ("betas", "eps", "weight_decay")}
    assert optimizer == {"betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 1e-4}
    assert config.optim_wrapper.precision == "float32"
    assert config.optim_wrapper.accumulative_counts == 1
    assert "clip_grad" not in config.optim_wrapper
    assert "paramwise_cfg" not in config.optim_wrapper  # decay on everything, no decay by layer
    (schedule,) = config.param_scheduler
    assert (schedule.by_epoch, schedule.begin, schedule.eta_min) == (True, 0, 0)


@pytest.mark.parametrize("name", [*ROWS, *UNPUBLISHED])
def test_model_and_pictures_are_those_of_the_released_recipe(name):
    config = loaded(name)
    backbone, heads = config.model.backbone, config.model.heads
    assert (backbone.size, backbone.image_size, backbone.drop_path) == (name.split("_")[1], 384, 0.1)
    assert set(heads) == wanted_heads(name)
    weights = [
        {key: value for key, value in head.items() if key.endswith("_weight")} for head in heads.values()
    ]
    assert {"focal_weight": 20.0, "dice_weight": 2.0} in weights
    if "box" in heads:
        assert {"box_weight": 1.0, "giou_weight": 1.0} in weights
    assert config.model.data_preprocessor.tokenizer.context_length == 64
    shortest = 224 if name.startswith("mrefm") else 192
    for pipeline in training_pipelines(config):
        kinds = [part.type.__name__ for part in pipeline]
        assert kinds[:5] == ["TruncateBoxes", "UnlessPlaceWords", "RandomResize", "ColorJitter", "Pad"]
        assert pipeline[2]["choices"] == list(range(384, shortest - 1, -32))
        assert kinds[5:] == (["ReferringMask", "MaskText"] if name.startswith("mrefm") else [])
    for loader in (config.get("val_dataloader"), config.get("test_dataloader")):
        if loader is not None:
            assert loader.dataset.pipeline == [{"type": Letterbox, "size": 384}]


def wanted_heads(name: str) -> set[str]:
    if name.startswith("mrefm"):
        return {"constraint", "masked_image", "masked_text"}
    if name.endswith("_res"):
        return {"mask"}
    return {"box", "constraint", "mask"} if "joint" in name else {"box", "constraint"}


def training_pipelines(config) -> list:
    dataset = config.train_dataloader.dataset
    return [part.pipeline for part in dataset.get("members", [dataset])]


def test_masks_are_read_where_they_are_learned():
    for name in (*ROWS, *UNPUBLISHED):
        dataset = loaded(name).train_dataloader.dataset
        masks = {part.get("with_masks", False) for part in dataset.get("members", [dataset])}
        assert masks == {"mask" in loaded(name).model.heads}
        best = loaded(name).default_hooks.checkpoint.save_best
        assert best == (None if name.startswith("mrefm") else "res/miou" if True in masks else "rec/acc50")


@pytest.mark.parametrize(
    "name", [name for name in (*ROWS, "oneref_base_joint_mixture") if "mask" in wanted_heads(name)]
)
def test_the_published_evaluation_of_masks_is_a_matter_of_options(name):
    """Those that the headers name."""
    if name in ROWS:
        options = re.search(r"to evaluate so: (.+?)\.(?= )", header_of(name))[1].split()
    else:
        options = ["model.heads.mask.mask_rule=published", "model.heads.mask.metric_resolution=canvas"]
    config = load_config(FOLDER / f"{name}.py", options)
    with torch.device("meta"):
        head = MODELS.build({**config.model.heads.mask, "width": 8})
    assert (head.mask_rule, head.metric_resolution) == ("published", "canvas")
    if name in ROWS:
        assert config.test_evaluator.protocol == "res/padded-canvas"


MIXTURES = sorted(name for name in (*ROWS, *UNPUBLISHED) if "mixture" in name or name.startswith("mrefm"))


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures_leave_out_what_any_member_is_evaluated_on(name):
    dataset = loaded(name).train_dataloader.dataset
    members = [Path(member.records).name.removesuffix(".train.jsonl") for member in dataset.members]
    referit = ["referit.berkeley"] if name in ("mrefm_base_rec", "mrefm_large_rec") or "paper" in name else []
    assert members == ["refcoco.unc", "refcocoplus.unc", "refcocog.umd", *referit]
    splits = {
        part: ("val", "testA", "testB") if part.endswith(".unc") else ("val", "test") for part in members
    }
    evaluated = [Path(file).name.removesuffix(".jsonl") for file in dataset.evaluates_on]
    assert evaluated == [f"{part}.{split}" for part in members for split in splits[part]]
    assert dataset.exclude_evaluated is True


def test_pre_training_hides_as_released_or_as_in_the_paper():
    for name in PRETRAINING | {"mrefm_base_rec_paper"}:
        rule = "paper" if name.endswith("paper") else "published"
        assert loaded(name).model.preset == rule
        assert loaded(name).find_unused_parameters is True
        for pipeline in training_pipelines(loaded(name)):
            patches, words = pipeline[-2:]
            assert (patches.rule, patches.beta, patches.gamma) == (rule, 0.35, 0.75)
            assert (words.rule, words.ratio, words.tokenizer.context_length) == (rule, 0.4, 64)
    text = loaded("mrefm_base_rec").model.heads.masked_text
    assert (text.smoothing, text.drop_worst, text.drop_from) == (0.1, 0.2, 12000)


def on_meta(name: str):
    """The model of a config without memory for its parameters."""
    with torch.device("meta"):
        return MODELS.build(without_files(load_config(FOLDER / f"{name}.py")).model)


def released(kind: str) -> dict[str, torch.Tensor]:
    """Names and shapes of a released base model."""
    shapes = manifest(f"oneref/{kind}_base_manifest.json.gz")
    return {name: torch.empty(shape, device="meta") for name, (shape, _) in shapes.items()}


def shapes_of(state) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def test_pre_training_starts_from_a_released_beit3_as_it_is_imported():
    heads = {"beit3", "mim_head", "mlm_head"}
    state = {name: value for name, value in released("mrefm").items() if name.split(".")[0] in heads}
    given = shapes_of(import_published("beit3", state)[1])
    wanted = shapes_of(on_meta("mrefm_base_rec").state_dict())
    lacking = wanted.keys() - given.keys()
    assert given.items() <= wanted.items()
    patterns = loaded("mrefm_base_rec").load_allow_missing
    assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in lacking)
    assert all(any(fnmatch(name, pattern) for name in lacking) for pattern in patterns)


def test_fine_tuning_starts_from_a_released_pre_training_as_it_is_imported():
    _, weights = import_published("oneref", released("mrefm"))
    given = shapes_of(backbone_state(weights, "mrefm_base_rec.safetensors"))
    assert given == shapes_of(on_meta("oneref_base_mixture").backbone.state_dict())


# Spec of OneRef, 4.1, in parameters: what a released model has and no output depends on.
TEXT_PROJECTION = 768 * 768 + 768
BOX_HEAD = 3 * (768 * 768 + 768) + 768 * 4 + 4


@pytest.mark.parametrize(
    ("name", "published", "unused"),
    [
        ("oneref_base_refcoco", 224_824_325, TEXT_PROJECTION),
        ("oneref_base_refcoco_res", 231_906_821, TEXT_PROJECTION + BOX_HEAD),
        ("mrefm_base_rec", 282_713_876, TEXT_PROJECTION + BOX_HEAD),
    ],
)
def test_parameters_are_the_published_ones_without_the_unused(name, published, unused):
    assert sum(part.numel() for part in on_meta(name).parameters()) == published - unused


def trained(model, stage) -> set[str]:
    with torch.device("meta"):
        model.enter_stage(stage.model)
    return {name for name, part in model.named_parameters() if part.requires_grad}


@pytest.mark.parametrize("name", ["oneref_base_refcoco", "oneref_base_refcoco_res", "mrefm_base_rec"])
def test_stages_train_what_the_released_scripts_train(name):
    """Spec 9: nothing of BEiT-3 in the first; in the second everything that a loss reaches."""
    model = on_meta(name)
    first, second = loaded(name).train_cfg.stages
    assert not any(part.startswith("backbone.beit3") for part in trained(model, first))
    everything = {part for part, _ in model.named_parameters()}
    closed = {"backbone.logit_scale"} | (
        {part for part in everything if ".relation." in part}
        if name.startswith("mrefm")
        else {"backbone.beit3.vision_embed.mask_token"}
    )
    if name.endswith("_res"):
        closed.add("backbone.vision_head.weight")
    assert everything - trained(model, second) == closed


def small_run(name: str, folder: Path):
    """A config with small models, on two expressions, one epoch of two updates per stage."""
    config = without_files(load_config(FOLDER / f"{name}.py"))
    shrunk(config.model)
    records = str(pretend_records(folder))
    dataset = config.train_dataloader.dataset
    loaders = [config.train_dataloader, config.get("val_dataloader"), config.get("test_dataloader")]
    for loader in filter(None, loaders):
        loader.update(num_workers=0, persistent_workers=False)
        for part in (loader.dataset, *loader.dataset.get("members", [])):
            if "records" in part:
                part.update(records=records, image_root=str(folder))
    if "members" in dataset:
        dataset.update(members=dataset.members[:1], evaluates_on=[])
    for stage in config.train_cfg.stages:
        stage.update(epochs=1, batch_size=1)
    config.default_hooks.logger.update(interval=1)
    return config


RUNS = {
    "oneref_large_refcoco": ({"loss_bbox", "loss_giou"}, {"loss_mrm_focal", "loss_mrm_dice"}),
    "oneref_base_joint_mixture": ({"loss_bbox", "loss_seg_dice"}, {"loss_mrm_focal", "loss_mrm_dice"}),
    "mrefm_base_rec": ({"loss_mrm_focal"}, {"loss_mim", "loss_mlm"}),
    "mrefm_base_rec_paper": ({"loss_mim", "loss_mlm_sts"}, {"loss_mim_vts", "loss_mlm"}),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_recipe_trains_through_both_stages(name, tmp_path):
    """What has losses: of the first pair in both stages, the second at least in the second one."""
    build_runner(small_run(name, tmp_path), tmp_path / "run").train()
    lines = next((tmp_path / "run").rglob("scalars.json")).read_text("utf-8").splitlines()
    steps = [line for line in map(json.loads, lines) if "loss" in line]
    always, later = RUNS[name]
    assert len(steps) == 4
    first, second = ({key for step in part for key in step} for part in (steps[:2], steps[2:]))
    assert always <= first and always | later <= second
    if name.startswith("oneref"):
        assert not later & first  # no constraint while BEiT-3 is frozen
    rates = {step["lr"] for step in steps}
    assert rates == {2.5e-4, 5e-5 if name.startswith("mrefm") else 3e-5}
