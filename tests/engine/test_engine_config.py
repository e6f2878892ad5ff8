"""Configs: found, overridden with checked keys, printed, reloaded."""

from __future__ import annotations

import pytest

from refkit.engine.config import ConfigError, find_config, load_config, parse_value

TEXT = """
model = dict(type="X", head=dict(dim=64, drop=0.1, layers=[1, 2, 3]), name=None, on=True)
schedule = [dict(lr=1e-3, end=5), dict(lr=1e-4, end=9)]
"""


@pytest.fixture
def config_file(tmp_path):
    file = tmp_path / "small.py"
    file.write_text(TEXT)
    return file


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("model.head.dim=32", ("model", "head", "dim"), 32),
        ("model.head.drop=0", ("model", "head", "drop"), 0),
        ("model.name=a cat, sitting", ("model", "name"), "a cat, sitting"),
        ("model.on=false", ("model", "on"), False),
        ("model.head.layers.1=7", ("model", "head", "layers", 1), 7),
        ("model.head.layers=4,5", ("model", "head", "layers"), [4, 5]),
        ("schedule.-1.end=12", ("schedule", 1, "end"), 12),
        ("schedule.0.lr=5e-4", ("schedule", 0, "lr"), 5e-4),
    ],
)
def test_override_sets_an_existing_key(config_file, override, path, value):
    node = load_config(config_file, [override])
    for key in path:
        node = node[key]
    assert node == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.hed.dim=3", r"model\.hed is not in the config.*model\.head"),
        ("model.head.dimm=3", r"Did you mean model\.head\.dim"),
        ("schedule.2.lr=1", "list of 2 entries"),
        ("schedule.first.lr=1", "index from 0 to 1"),
        ("model.head.dim.x=3", "single value"),
        ("model.head.dim=large", "expected a number"),
        ("model.head.dim=true", "expected a number"),
        ("model.on=1", "true or false"),
        ("model.head=3", "override its keys one by one"),
        ("model.head.layers=3", "expected a list"),
        ("model.head.dim", "not of the form"),
        ("=3", "not of the form"),
    ],
)
def test_wrong_override_names_file_key_and_remedy(config_file, override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(config_file, [override])
    assert str(config_file) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("1e-4", 1e-4), ("None", None), ("null", None), ("True", True), ("1,2,3", [1, 2, 3]),
        ("(1, 2)", (1, 2)), ("[a, b]", ["a", "b"]), ("'3'", "3"), ("refcoco.unc.val", "refcoco.unc.val"), ("a, b", "a, b"),
    ],
)  # fmt: skip
def test_values_are_parsed(text, value):
    assert parse_value(text) == value


def test_printed_config_loads_back_equal(config_file, tmp_path):
    config = load_config(config_file, ["model.head.dim=32"])
    config.dump(tmp_path / "dumped.py")
    again = load_config(tmp_path / "dumped.py")
    assert again.to_dict() == config.to_dict()
    assert again.fingerprint == config.fingerprint != load_config(config_file).fingerprint


def test_class_types_survive_printing(toy_config, tmp_path):
    config = load_config(toy_config)
    config.dump(tmp_path / "dumped.py")
    again = load_config(tmp_path / "dumped.py")
    assert again.to_dict() == config.to_dict()
    assert again.model.type == "engine_toy.SquareFinder"


def test_named_configs_are_found_and_near_names_offered():
    assert find_config("_base_/default_runtime").name == "default_runtime.py"
    with pytest.raises(ConfigError, match="neither a file nor a name"):
        find_config("hivg/no_such_model_at_all")


@pytest.mark.parametrize("ending", ["", ".py"])
def test_a_path_into_the_checkout_works_from_anywhere(tmp_path, monkeypatch, ending):
    monkeypatch.chdir(tmp_path)
    found = find_config(f"configs/refshapes/hivg_tiny{ending}")
    assert found == find_config("refshapes/hivg_tiny")
    with pytest.raises(ConfigError, match="Did you mean refshapes/hivg_tiny"):
        find_config(f"configs/refshapes/hivg_tinny{ending}")
    with pytest.raises(ConfigError, match="neither a file nor a name"):
        find_config("configs")
    with pytest.raises(ConfigError, match="neither a file nor a name"):
        find_config("")
    own = tmp_path / "configs/refshapes/hivg_tiny.py"
    own.parent.mkdir(parents=True)
    own.write_text("x = 1")
    assert find_config(f"configs/refshapes/hivg_tiny{ending}") == own.resolve()


@pytest.mark.parametrize(
    "text", ["model = dict(", "from mmengine.config import read_base\nimport os\nx = os.nothing()\n"]
)
def test_broken_config_names_its_file(tmp_path, text):
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.py: cannot read"):
        load_config(tmp_path / "broken.py")
