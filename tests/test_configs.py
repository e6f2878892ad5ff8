"""Every shipped config: short, described, prints back equal, and everything it names builds and runs together."""

from __future__ import annotations

import ast
import copy
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from refkit.data.collate import collate
from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.engine.config import leaves, load_config
from refkit.models import ReferringModel
from refkit.registry import DATASETS, MODELS

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "configs"
CONFIGS = sorted(
    file for file in FOLDER.rglob("*.py") if not file.relative_to(FOLDER).parts[0].startswith("_")
)
TABLE = REPOSITORY / "docs" / "pages" / "configs.md"
LONGEST_CONFIG = 120
SMALL_MODEL = 20_000_000  # parameters; larger ones compute shapes only


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


every_config = pytest.mark.parametrize("path", CONFIGS, ids=name_of)


def header_of(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""


def load_without_weights(path: Path):
    """The config as on a machine that has none of the weights files it starts from."""
    config = load_config(path)
    for part in config.model.values():
        if isinstance(part, dict) and "weights" in part:
            part["weights"] = None
    config.load_from = None
    return config


def on_meta(config) -> ReferringModel:
    """The model without memory for its parameters: sizes and wiring, however large."""
    with torch.device("meta"):
        return MODELS.build(copy.deepcopy(config.model))


def count(parameters) -> int:
    return sum(parameter.numel() for parameter in parameters)


def resolve(kind: str | type) -> type:
    """What stands behind a ``type``, which loading turns into a dotted path."""
    if not isinstance(kind, str):
        return kind
    module, _, name = kind.rpartition(".")
    return getattr(importlib.import_module(module), name)


def pretend_records(folder: Path) -> Path:
    """Two expressions about one picture, in place of annotations that are not here."""
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray(picture).save(folder / "a.png")
    image = ImageRef("a.png", 64, 48, 1)
    records = [
        Record(f"mine.own.{number}", image, text, [Target((4.0 + number, 5.0, 40.0, 30.0))])
        for number, text in enumerate(("the left dog", "the red circle"))
    ]
    write_records(folder / "records.jsonl", Header("mine", "own", "train"), records)
    return folder / "records.jsonl"


def few_samples(dataset, folder: Path):
    """The first samples of a data set of a config, drawn anew or of `pretend_records`."""
    dataset = copy.deepcopy(dataset)
    if "records" in dataset:
        dataset.update(records=str(pretend_records(folder)), image_root=str(folder))
    if "scenes" in dataset:
        dataset.update(scenes=2)
    built = DATASETS.build(dataset)
    return [built[0], built[1]]


def test_there_are_configs():
    assert CONFIGS


@every_config
def test_is_short_and_says_what_it_is(path):
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) < LONGEST_CONFIG, f"{len(lines)} lines: move what is shared into _base_"
    header = header_of(path)
    assert header.splitlines()[0].endswith("."), "the first line of the header says what the config is"
    assert f"refkit train {name_of(path)}" in header, "the header gives the command"


@every_config
def test_printed_config_loads_back_equal(path, tmp_path):
    config = load_config(path)
    config.dump(tmp_path / "printed.py")
    again = load_config(tmp_path / "printed.py")
    assert again.to_dict() == config.to_dict()
    assert again.fingerprint == config.fingerprint


@every_config
def test_every_class_it_names_exists(path):
    types = {value for key, value in leaves(load_config(path).to_dict()) if key.rpartition(".")[2] == "type"}
    assert types
    assert all(callable(resolve(kind)) for kind in types)


@every_config
def test_optimizer_gets_every_trainable_parameter_once(path):
    config = load_without_weights(path)
    model = on_meta(config)
    wrapper = dict(config.optim_wrapper)
    constructor = resolve(wrapper.pop("constructor"))
    groups = constructor(wrapper, wrapper.pop("paramwise_cfg", None)).groups(model)
    given = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(given) == sorted(id(part) for part in model.parameters() if part.requires_grad)


@every_config
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_samples_of_its_data_sets_pass_through_its_model(path, split, tmp_path):
    config = load_without_weights(path)
    loader = config.get(f"{split}_dataloader")
    if loader is None:
        assert split != "train"
        return
    samples = few_samples(loader.dataset, tmp_path)
    assert resolve(loader.collate_fn.type) is collate
    model = on_meta(config)
    large = count(model.parameters()) > SMALL_MODEL
    if not large:
        model = MODELS.build(config.model)
    batch = MODELS.build(config.model.data_preprocessor)(collate(samples), training=split == "train")
    if large:
        outputs = model({name: value.to("meta") for name, value in batch["inputs"].items()}, mode="tensor")
        assert all(len(value) == len(samples) for value in outputs.values())
    elif split == "train":
        losses = model(**batch, mode="loss")
        assert all(torch.isfinite(value) for value in losses.values())
    else:
        predictions = model.eval()(**batch, mode="predict")
        assert [answer.id for answer in predictions] == [sample.id for sample in samples]


@every_config
def test_schedules_reach_the_end_of_training(path):
    """By iterations or by epochs, the last schedule ends where training does; drawn sets only have a known size."""
    config = load_config(path)
    if not config.get("param_scheduler"):
        return
    loader, last = config.train_dataloader, config.param_scheduler[-1]
    epochs = config.train_cfg.max_epochs
    assert last.begin < last.end
    if last.get("by_epoch", True):
        assert last.end == epochs
    elif "scenes" in loader.dataset:
        samples = len(DATASETS.build(copy.deepcopy(loader.dataset)))
        iterations = epochs * -(-samples // loader.batch_size)
        assert abs(last.end - iterations) <= 0.02 * iterations, f"{last.end} of {iterations} iterations"


@every_config
def test_table_of_configs_has_its_row(path):
    model = on_meta(load_without_weights(path))
    trained = count(part for part in model.parameters() if part.requires_grad)
    name = path.relative_to(FOLDER).with_suffix("").as_posix()
    what = header_of(path).splitlines()[0]
    row = f"| `{name}` | {what} | {count(model.parameters()) / 1e6:.1f} | {trained / 1e6:.1f} |"
    assert row in TABLE.read_text("utf-8").splitlines(), f"{name_of(TABLE)} lacks this row:\n{row}"


def test_table_of_configs_has_no_other_rows():
    rows = [line for line in TABLE.read_text("utf-8").splitlines() if line.startswith("| `")]
    assert len(rows) == len(CONFIGS)
