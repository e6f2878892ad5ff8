"""Every shipped config: short, described, prints back equal, and everything it names builds and runs together."""

from __future__ import annotations

import ast
import copy
import importlib
import re
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseDataPreprocessor
from pretend_records import pretend_records
from shipped_configs import CONFIG_FOLDER, docstring_of, load_once
from stand_ins import shrunk, without_files

from refkit.data.collate import collate
from refkit.engine.config import leaves, load_config
from refkit.engine.stages import plan_stages
from refkit.models import ReferringModel
from refkit.registry import DATASETS, MODELS

REPOSITORY = Path(__file__).resolve().parents[1]


def is_run(file: Path) -> bool:
    """A config to train with: neither a base nor the rows of an ablation table (tools/ablate.py)."""
    names = {
        target.id
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return "rows" not in names and not file.relative_to(CONFIG_FOLDER).parts[0].startswith("_")


CONFIGS = sorted(file for file in CONFIG_FOLDER.rglob("*.py") if is_run(file))
TABLE = REPOSITORY / "docs" / "pages" / "configs.md"
LONGEST_CONFIG = 120
SMALL_MODEL = 20_000_000  # parameters; larger ones compute shapes only


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


every_config = pytest.mark.parametrize("path", CONFIGS, ids=name_of)


def load_without_weights(path: Path):
    """The config as on a machine that has none of the files it starts from."""
    return without_files(copy.deepcopy(load_once(path)))


_ON_META: dict[str, ReferringModel] = {}
_RUN_ON_META: set[str] = set()
_PREPROCESSORS: dict[str, BaseDataPreprocessor] = {}


@pytest.fixture(scope="module", autouse=True)
def two_gigabytes():
    """What the tests of this file share is given back before models with weights are tested."""
    yield
    for shared in (_ON_META, _PREPROCESSORS):
        shared.clear()
    load_once.cache_clear()


def model_key(config) -> str:
    """Equal for configs that end with the same model."""
    return f"{config.to_dict()['model']} {last_stage(config)}"


def on_meta(path: Path) -> ReferringModel:
    """The model in its last stage, without memory for its parameters: sizes and wiring, however large.

    Configs with equal models share it.
    """
    config = load_without_weights(path)
    if (key := model_key(config)) not in _ON_META:
        with torch.device("meta"):
            _ON_META[key] = model = MODELS.build(config.model)
            if stage := last_stage(config):
                model.enter_stage(stage)
    return _ON_META[key]


def last_stage(config) -> dict:
    """What the model is told at the end of training."""
    return next(
        (dict(stage.model) for stage in config.train_cfg.get("stages", [])[::-1] if "model" in stage), {}
    )


def preprocessor(path: Path) -> BaseDataPreprocessor:
    """Of the model, with its tokenizer: tens of megabytes, which equal ones share."""
    config = load_without_weights(path).model.data_preprocessor
    if (key := str(config)) not in _PREPROCESSORS:
        _PREPROCESSORS[key] = MODELS.build(config)
    return _PREPROCESSORS[key]


def run_on_meta(path: Path, inputs) -> None:
    """Let the full-size model name its tensors, without values, unless an equal one did before.

    The contrast head stays out: autocast, which it switches off, does not know the meta device.
    """
    config, model = load_without_weights(path), on_meta(path)
    if (key := model_key(config)) in _RUN_ON_META:
        return
    contrast = ["heads.contrast"] if "contrast" in getattr(model, "heads", {}) else []
    with torch.device("meta"), torch.no_grad():
        model.enter_stage({**last_stage(config), "without": contrast})
        outputs = model({name: value.to("meta") for name, value in inputs.items()}, mode="tensor")
    assert outputs
    assert all(len(value) == len(inputs["images"]) for value in outputs.values())
    _RUN_ON_META.add(key)


def count(parameters) -> int:
    return sum(parameter.numel() for parameter in parameters)


def resolve(kind: str | type) -> type:
    """What stands behind a ``type``, which loading turns into a dotted path."""
    if not isinstance(kind, str):
        return kind
    module, _, name = kind.rpartition(".")
    return getattr(importlib.import_module(module), name)


def few_samples(dataset, folder: Path):
    """The first samples of a data set of a config, drawn anew or of `pretend_records`."""
    dataset = copy.deepcopy(dataset)
    for part in (dataset, *dataset.get("members", [])):
        if "records" in part:
            part.update(records=str(pretend_records(folder)), image_root=str(folder))
    if "evaluates_on" in dataset:
        dataset.update(evaluates_on=[])
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
    header = docstring_of(path)
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
    named = [(key, value) for key, value in leaves(load_once(path).to_dict()) if key.endswith(".type")]
    types = {value for key, value in named if not key.endswith("selection.type")}  # of views: by short names
    assert types
    assert all(callable(resolve(kind)) for kind in types)


@every_config
def test_optimizer_gets_every_trainable_parameter_once(path):
    config = load_without_weights(path)
    model = on_meta(path)
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
    batch = preprocessor(path)(collate(samples), training=split == "train")
    if count(on_meta(path).parameters()) > SMALL_MODEL:
        # BEiT-3 and models of regions look at the values of token ids, so they cannot run without any.
        if not any(hasattr(on_meta(path).backbone, part) for part in ("beit3", "qformer")):
            if split == "train":
                run_on_meta(path, batch["inputs"])
            return
        shrunk(config.model)
    model = MODELS.build(config.model)
    if split == "train":
        losses = model(**batch, mode="loss")
        assert all(torch.isfinite(value) for value in losses.values())
    else:
        predictions = model.eval()(**batch, mode="predict")
        assert [answer.id for answer in predictions] == [sample.id for sample in samples]


@every_config
def test_schedules_reach_the_end_of_training(path):
    """By iterations or by epochs, the last schedule ends where training does; drawn sets only have a known size."""
    config = load_once(path)
    if not config.get("param_scheduler"):
        return
    loader, last = config.train_dataloader, config.param_scheduler[-1]
    if "stages" in config.train_cfg:
        stages = plan_stages(config.train_cfg.stages, lambda size: 10)
        assert [stage.schedules(config.param_scheduler)[-1]["end"] for stage in stages] == [
            stage.epochs for stage in stages
        ]
        return
    epochs = config.train_cfg.max_epochs
    assert last.begin < last.end
    if last.get("by_epoch", True):
        assert last.end == epochs
    elif "scenes" in loader.dataset:
        samples = loader.sampler.get("samples") or len(DATASETS.build(copy.deepcopy(loader.dataset)))
        iterations = epochs * -(-samples // loader.batch_size)
        assert abs(last.end - iterations) <= 0.02 * iterations, f"{last.end} of {iterations} iterations"


def table_row(path: Path) -> str:
    """What the page on configs says about one: millions of parameters are those of its last stage."""
    model = on_meta(path)
    trained = count(part for part in model.parameters() if part.requires_grad)
    name = path.relative_to(CONFIG_FOLDER).with_suffix("").as_posix()
    what, *rest = docstring_of(path).splitlines()
    published = re.findall(r"Published (Acc@0\.5|mIoU|oIoU|values): (.+?)\.(?= |$)", " ".join(rest))
    named = (part if kind in ("Acc@0.5", "values") else f"{kind} {part}" for kind, part in published)
    cells = (
        " / ".join(named) or "–",
        f"{count(model.parameters()) / 1e6:.1f}",
        f"{trained / 1e6:.1f}",
    )
    return f"| `{name}` | {what} | {' | '.join(cells)} |"


@every_config
def test_table_of_configs_has_its_row(path):
    row = table_row(path)
    assert row in TABLE.read_text("utf-8").splitlines(), f"{name_of(TABLE)} lacks this row:\n{row}"


def test_table_of_configs_has_no_other_rows():
    rows = [line for line in TABLE.read_text("utf-8").splitlines() if line.startswith("| `")]
    assert len(rows) == len(CONFIGS)
