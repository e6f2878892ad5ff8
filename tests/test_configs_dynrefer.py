"""Configs of DynRefer: headers against the published tables, recipes against the released one, views, starts."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pretend_records import pretend_records
from published_weights import manifest
from shipped_configs import CONFIG_FOLDER, ConfigFolder
from stand_ins import without_files

from refkit.data.refshapes.dataset import RefShapesObjects
from refkit.data.refshapes.region_captions import TAGS
from refkit.data.refshapes.scene import SHAPES
from refkit.data.transforms import Conversation
from refkit.data.view_selection import FixedViews, build_selection
from refkit.engine.ablation.table import read_table
from refkit.engine.config import load_config
from refkit.registry import DATASETS, METRICS, MODELS
from refkit.zoo.layouts import import_published

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = CONFIG_FOLDER / "dynrefer"
loaded, header_of = ConfigFolder(FOLDER).loaded, ConfigFolder(FOLDER).header_of
GOLDEN = json.loads((REPOSITORY / "tests" / "golden" / "dynrefer_published.json").read_text("utf-8"))
ROWS = sorted(GOLDEN)
ABLATIONS = [name for name in ROWS if name.startswith("ablation/")]
NAMES = [*ROWS, "dynrefer_vicuna_vg", "dynrefer_eva_vg_published"]
QUESTIONS = "dynrefer_eva_instruction"  # a recipe of refkit's own, where the paper states none
RELEASED = [name for name in NAMES if name != QUESTIONS]
NOT_HERE = {(7, 17)}


def on_meta(name: str):
    """The model of a config without memory for its parameters."""
    with torch.device("meta"):
        return MODELS.build(without_files(load_config(FOLDER / f"{name}.py")).model)


def test_every_row_has_a_config_and_every_config_a_row():
    names = {file.relative_to(FOLDER).with_suffix("").as_posix() for file in FOLDER.rglob("*.py")}
    assert names == {*NAMES, "dynrefer_small_real_pictures"}
    assert all("no published value" in header_of(name) for name in set(NAMES) - set(ROWS))


@pytest.mark.parametrize("name", ROWS)
def test_header_names_tables_rows_and_published_values(name):
    header = header_of(name)
    published = re.search(r"Published values: (.+?)\.(?= |$)", header)[1]
    told = [float(number) for number in re.findall(r"(?<!VG )\b\d+\.\d\b", published)]
    wanted = {}
    for row in GOLDEN[name]:
        assert re.search(rf"Table {row['table']}, rows? (\d+ [^,;]*and )?{row['row']}\b", header)
        wanted |= row["values"]
    assert sorted(told) == sorted(wanted.values())
    for key, value in wanted.items():
        assert re.search(rf"{re.escape(key.split()[-1])} {value}\b", published), key


@pytest.mark.shared
def test_golden_values_are_those_of_the_specification(shared):
    text = (shared / "spec" / "dynrefer.md").read_text("utf-8")
    block = next(
        part for part in re.findall(r"```yaml\n(.*?)```", text, re.S) if "table1_region_captioning" in part
    )
    tables = {
        int(number[1]): table
        for key, table in yaml.safe_load(block).items()
        if (number := re.match(r"table(\d+)_", key))
    }
    mine = {(row["table"], row["row"]): [] for rows in GOLDEN.values() for row in rows}
    for rows in GOLDEN.values():
        for row in rows:
            mine[row["table"], row["row"]] += row["values"].values()
    for number in (7, 8, 9):
        every = {(number, place) for place in range(1, len(tables[number]["rows"]) + 1)}
        assert every - NOT_HERE <= mine.keys()
    for (number, place), values in mine.items():
        row = tables[number]["rows"][place - 1]
        numbers = [value for value in row if isinstance(value, float)]
        assert set(values) <= set(numbers) and values, (number, place)
        if number >= 7:
            assert values == [value for value in row[-5:] if value is not None]


@pytest.mark.parametrize("name", RELEASED)
def test_schedule_is_the_released_one(name):
    """Spec 11: 64 regions on each of 8 GPUs, 1e-4, a cosine in steps of epochs and no warm-up."""
    config = loaded(name)
    epochs = 3 if name.endswith("refcocog") else 5
    assert config.train_cfg.max_epochs == epochs
    (schedule,) = config.param_scheduler
    assert (schedule.by_epoch, schedule.begin, schedule.end, schedule.eta_min) == (True, 0, epochs, 0)
    optimizer = {key: config.optim_wrapper.optimizer[key] for key in ("lr", "betas", "weight_decay")}
    assert optimizer == {"lr": 1e-4, "betas": [0.9, 0.999], "weight_decay": 0.05}
    assert config.optim_wrapper.paramwise_cfg == {"decay_norms_and_biases": False}
    assert "clip_grad" not in config.optim_wrapper
    assert config.train_dataloader.batch_size == 64
    assert config.randomness.seed == 42
    assert "Batch per GPU 64 on 8 GPUs." in header_of(name)


def test_learning_rates_of_epochs_are_the_published_ones():
    schedule = dict(loaded("dynrefer_eva_vg").param_scheduler[0])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    steps = schedule.pop("type")(optimizer, **schedule)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        steps.step()
    assert rates == pytest.approx([1e-4, 9.045e-5, 6.545e-5, 3.455e-5, 9.55e-6], rel=1e-3)


def pipelines(config) -> dict[str, list]:
    """Of training by member, of validation and test."""
    dataset = config.train_dataloader.dataset
    found = {f"train {i}": part.pipeline for i, part in enumerate(dataset.get("members", [dataset]))}
    for split in ("val", "test"):
        if config.get(f"{split}_dataloader"):
            found[split] = config[f"{split}_dataloader"].dataset.pipeline
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_pipeline_shows_as_many_views_as_the_model_has(name):
    config = loaded(name)
    backbone = config.model.backbone
    for split, pipeline in pipelines(config).items():
        views = pipeline[-1]
        assert (views.views, views.side) == (backbone.views, backbone.tower.image_size), split
        selection = build_selection(views.selection)
        assert not isinstance(selection, FixedViews) or len(selection.ratios) == backbone.views
        if name == QUESTIONS:
            assert pipeline[0].type is Conversation
        elif split.startswith("train"):
            assert (pipeline[0].full_drop, pipeline[0].drop) == (0.5, 0.5)


def test_questions_are_learnt_with_the_language_model_opened_by_lora():
    config, model = loaded(QUESTIONS), on_meta(QUESTIONS)
    (stage,) = config.train_cfg.stages
    model.enter_stage(stage.model)
    trained = [name for name, part in model.named_parameters() if part.requires_grad]
    lora = [name for name in trained if ".lora_" in name]
    # 24 encoder and 48 decoder attentions (self and cross), queries and values, two matrices each
    assert len(lora) == (24 + 48) * 2 * 2
    assert all(model.get_parameter(name).shape[0 if "lora_A" in name else 1] == 64 for name in lora)
    assert not any(name.startswith(("heads.tag.", "heads.contrast.")) for name in trained)
    head = config.model.heads.caption
    assert (head.keep, head.text_limit, config.model.compact) == ("end", 256, False)
    assert config.test_dataloader.dataset.pipeline[-1].several == "enclose"


SELECTIONS = {"random": "random", "image": "image_prior", "task": "task_prior"}


CHOSEN = [name for name in ABLATIONS if re.search(r"_(random|image|task)$", name) and "cropped" not in name]


@pytest.mark.parametrize("name", CHOSEN)
def test_stochastic_rows_choose_views_as_they_say(name):
    for split, pipeline in pipelines(loaded(name)).items():
        selection = pipeline[-1].selection
        kind = selection if isinstance(selection, str) else selection["type"]
        assert kind == ("random" if split.startswith("train") else SELECTIONS[name.split("_")[-1]])


@pytest.mark.parametrize(("name", "millions"), [("dynrefer_eva_vg", 122.88), ("dynrefer_vitl_vg", 113.6)])
def test_trains_what_the_released_code_trains(name, millions):
    """Spec 9; of the model with EVA ViT-g 347 tensors."""
    model = on_meta(name)
    trained = {key: part for key, part in model.named_parameters() if part.requires_grad}
    assert len(trained) == 347
    assert sum(part.numel() for part in trained.values()) / 1e6 == pytest.approx(millions, abs=0.05)
    frozen = ("backbone.tower.", "backbone.norm.", "text_encoder.", "heads.caption.language_model.")
    assert not any(key.startswith(frozen) for key in trained)
    model.train()
    assert not model.heads["caption"].language_model.training


def test_dropout_of_the_frozen_language_model_can_be_left_on_as_released():
    config = without_files(
        load_config(FOLDER / "dynrefer_eva_vg.py", ["model.lively=[heads.caption.language_model]"])
    )
    with torch.device("meta"):
        model = MODELS.build(config.model).train()
    assert model.heads["caption"].language_model.training
    assert not any(part.requires_grad for part in model.heads["caption"].language_model.parameters())


def test_the_published_switches_are_named_in_one_config():
    ours, published = (loaded(f"dynrefer_eva_vg{end}").model.to_dict() for end in ("", "_published"))
    changed = {"lively": ["heads.caption.language_model"]}
    assert {
        key: value for key, value in published.items() if value != ours[key] and key != "heads"
    } == changed
    for name, head in published["heads"].items():
        assert head["precision"] == "bfloat16"
        assert {**head, "precision": ours["heads"][name]["precision"]} == ours["heads"][name]
    model = on_meta("dynrefer_eva_vg_published").train()
    assert model.heads["caption"].language_model.training


def frozen_shapes() -> dict[str, torch.Tensor]:
    names = manifest("dynrefer/frozen_eva_manifest.json.gz")
    return {key: torch.empty(shape, device="meta") for key, (shape, _) in names.items()}


def test_training_starts_from_blip2_as_it_is_imported():
    frozen = frozen_shapes()
    used = manifest("dynrefer/blip2_flant5xl_consumed_manifest.json.gz")
    _, weights = import_published(
        "blip2",
        {key: torch.empty(shape, device="meta") for key, (shape, _) in used.items()},
        vision={k.removeprefix("visual_encoder."): v for k, v in frozen.items() if "visual_encoder." in k},
        language_model={k.removeprefix("t5_model."): v for k, v in frozen.items() if "t5_model." in k},
        text={k.replace("text_encoder.", "text."): v for k, v in frozen.items() if "text_encoder." in k},
    )
    own = on_meta("dynrefer_eva_vg").state_dict()
    assert {k: v.shape for k, v in weights.items()}.items() <= {k: v.shape for k, v in own.items()}.items()
    lacking = own.keys() - weights.keys()
    patterns = loaded("dynrefer_eva_vg").load_allow_missing
    assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in lacking)
    assert all(any(fnmatch(name, pattern) for name in lacking) for pattern in patterns)


def test_a_random_qformer_is_trained_with_its_queries():
    model, config = on_meta("ablation/random_qformer"), loaded("ablation/random_qformer")
    queries = model.backbone.qformer.query_tokens
    assert queries.requires_grad and not any(part.requires_grad for part in model.backbone.norm.parameters())
    plain = on_meta("ablation/three_views_image")
    trained = [
        {name for name, part in one.named_parameters() if part.requires_grad} for one in (model, plain)
    ]
    assert trained[0] - trained[1] == {"backbone.qformer.query_tokens"} and trained[0] > trained[1]
    added = set(config.load_allow_missing) - set(loaded("ablation/three_views_image").load_allow_missing)
    assert added == {"backbone.qformer.*"}


def test_ablations_leave_out_what_they_are_scored_on():
    for name in ABLATIONS:
        dataset = loaded(name).train_dataloader.dataset
        assert dataset.exclude_evaluated is True
        evaluated = {Path(file).name.removesuffix(".jsonl") for file in dataset.evaluates_on}
        assert evaluated == {
            "refcocog.umd.val",
            "vg.coco.test",
            "ovad.box.test",
            "coco.instances.val2017",
        }


def test_the_twin_asks_for_what_refshapes_knows():
    """Every attribute, class and tag of the records has prompts, and all that carry an attribute say so."""
    heads = load_config(REPOSITORY / "configs/refshapes/dynrefer_tiny.py").model.heads
    data = RefShapesObjects(scenes=8)
    records = [data.record(index) for index in range(len(data))]
    assert set(heads.contrast.attributes) == set(records[0].labels)
    assert list(heads.contrast.categories) == list(SHAPES)
    assert list(heads.tag.tags) == list(TAGS)
    prompts = {prompt for texts in heads.contrast.attributes.values() for prompt in texts}
    for name, texts in heads.contrast.attributes.items():
        kind, value = name.split(":")
        if value not in ("solid", "medium"):
            assert texts and all(value in text.split() for text in texts), kind
    assert {text.split()[-1] for text in prompts} == set(SHAPES)


DENSE = [
    "test_dataloader.dataset.type=DenseRegions",
    "test_evaluator.type=DenseCaptionMetric",
    "test_evaluator.protocol=densecap/python",
]
ATTRIBUTES = ["model.tasks=[attributes]", "test_evaluator.protocol=attributes/box"]


@pytest.mark.parametrize("name", ["dynrefer_eva_refcocog", "ablation/two_views_task"])
def test_other_benchmarks_are_a_matter_of_options(name, tmp_path):
    """Those that the page on DynRefer names."""
    page = (REPOSITORY / "docs" / "pages" / "dynrefer.md").read_text("utf-8")
    assert all(option in page for option in [*DENSE, *ATTRIBUTES])
    for options in (DENSE, ATTRIBUTES):
        config = load_config(FOLDER / f"{name}.py", options)
        records = str(pretend_records(tmp_path))
        config.test_dataloader.dataset.update(records=records, image_root=str(tmp_path))
        data = DATASETS.build(config.test_dataloader.dataset)
        assert data[0].extras["views"].shape == (config.model.backbone.views, 3, 224, 224)
        assert type(data).__name__ == ("DenseRegions" if options is DENSE else "ReferringDataset")
        assert METRICS.build(config.test_evaluator).prefix == (
            "densecap" if options is DENSE else "attributes"
        )


def test_rows_of_the_table_on_views_share_what_they_are_trained_with():
    table = read_table("refshapes/ablation/dynrefer")
    assert [row.name for row in table.rows] == [
        *("one", "two-fixed", "two-random", "two-task", "two-image"),
        *("three-random", "three-task", "three-image"),
    ]
    shown = {}
    for row in table.rows:
        config, start = row.load(), table.starts[row.start].row.load()
        assert config.model.to_dict() == start.model.to_dict()
        assert config.train_dataloader.to_dict() == start.train_dataloader.to_dict()
        cut, views = config.val_dataloader.dataset.pipeline[-1], config.model.backbone.views
        assert cut.views == config.train_dataloader.dataset.pipeline[-1].views == views
        image = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
        region, rng = np.array([[30.0, 40.0, 50.0, 60.0]]), np.random.default_rng(0)
        shown[row.name] = build_selection(cut.selection).choose(image, region, views, rng)[0].tolist()
    assert shown["one"] == [0.0] and shown["two-fixed"] == [0.0, 1.0]
    assert shown["two-task"] == [0.0, 0.4] and shown["three-task"] == [0.0, 0.4, 0.8]
    assert all(ratios[0] == 0 for ratios in shown.values())
