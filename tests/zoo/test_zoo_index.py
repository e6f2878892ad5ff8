"""The index reads metafiles, finds models by name, and refuses files that are not the described ones."""

import hashlib
import subprocess
import sys

import pytest
import yaml

from refkit.zoo.index import ModelIndexError, find_model, load_index, read_metafile, zoo_folder

WEIGHTS = b"not really weights, but bytes with a digest"


def model(**changes):
    entry = {
        "Name": "shapes-small",
        "In Collection": "HiVG",
        "Config": "configs/refshapes/x.py",
        "Weights": "shapes-small.safetensors",
        "SHA256": hashlib.sha256(WEIGHTS).hexdigest(),
        "Size": len(WEIGHTS),
        "Licence": "Apache-2.0",
        "Results": [{"Task": "REC", "Dataset": "refshapes.refkit.val", "Metrics": {"Acc@0.5": 88.5}}],
    }
    return {key: value for key, value in {**entry, **changes}.items() if value is not None}


def write_zoo(folder, *models, family="hivg"):
    home = folder / family
    home.mkdir(parents=True, exist_ok=True)
    content = {"Collections": [{"Name": "HiVG"}], "Models": list(models)}
    (home / "metafile.yml").write_text(yaml.safe_dump(content))
    (home / "shapes-small.safetensors").write_bytes(WEIGHTS)
    return folder


def test_an_entry_holds_everything_and_verifies_its_file(tmp_path):
    entry = find_model("shapes-small", write_zoo(tmp_path, model()))
    assert (entry.family, entry.config, entry.licence) == ("HiVG", "configs/refshapes/x.py", "Apache-2.0")
    assert entry.results[0].metrics == {"Acc@0.5": 88.5}
    assert entry.verify() == tmp_path / "hivg" / "shapes-small.safetensors"


def test_an_unknown_name_suggests_the_nearest(tmp_path):
    write_zoo(tmp_path, model(), model(Name="shapes-base"))
    with pytest.raises(ModelIndexError, match=r"Did you mean 'shapes-small'.*shapes-small, shapes-base"):
        find_model("shapes-smal", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WEIGHTS[:-1], "42 bytes where .* says 43"),
        (WEIGHTS[:-1] + b"X", "the file was changed"),
        (None, "are not at"),
    ],
)
def test_a_weights_file_that_is_not_the_described_one_is_refused(tmp_path, content, message):
    entry = find_model("shapes-small", write_zoo(tmp_path, model()))
    entry.weights.unlink()
    if content is not None:
        entry.weights.write_bytes(content)
    with pytest.raises(ModelIndexError, match=message):
        entry.verify()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Weights": None}, r"Models\[0\] \(shapes-small\): missing Weights"),
        ({"Sise": 3}, "unknown key 'Sise'; did you mean 'Size'"),
        ({"qqqq": 3}, "unknown key 'qqqq'; known: Name"),
        ({"SHA256": "abc"}, "SHA256: expected 64"),
        ({"Size": "big"}, "Size: expected the number of bytes, found 'big'"),
        ({"In Collection": "HIVG"}, "'HIVG' is not listed in Collections"),
        ({"Results": [{"Task": "REC"}]}, "Results: expected Task, Dataset and Metrics"),
    ],
)
def test_a_broken_entry_names_file_model_and_key(tmp_path, changes, message):
    write_zoo(tmp_path, model(**changes))
    with pytest.raises(ModelIndexError, match=message):
        load_index(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "not readable as YAML"), ("[1]", "expected a mapping"), ("Models: [3]", "found int")],
)
def test_a_file_that_is_no_metafile_is_refused(tmp_path, text, message):
    path = tmp_path / "metafile.yml"
    path.write_text(text)
    with pytest.raises(ModelIndexError, match=message):
        read_metafile(path)


def test_two_models_of_one_name_are_refused(tmp_path):
    write_zoo(tmp_path, model())
    write_zoo(tmp_path, model(), family="other")
    with pytest.raises(ModelIndexError, match="already taken"):
        load_index(tmp_path)


def test_the_environment_names_the_zoo(tmp_path, monkeypatch):
    monkeypatch.setenv("REFKIT_ZOO", str(write_zoo(tmp_path, model())))
    assert zoo_folder() == tmp_path
    assert list(load_index()) == ["shapes-small"]
    monkeypatch.setenv("REFKIT_ZOO", str(tmp_path / "nowhere"))
    with pytest.raises(ModelIndexError, match="set REFKIT_ZOO"):
        load_index()


def test_the_index_imports_no_torch():
    code = "import sys, refkit.zoo.index; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_list_names_heads_and_can_be_asked_for_one(capsys):
    """What `tools/quickstart.sh --all-families` puts on its leaderboard."""
    from refkit.cli.main import main

    def printed(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["zoo", "list", *arguments])
        assert not left.value.code
        return capsys.readouterr().out.split()

    assert "refshapes-hivg-tiny" in printed("--head", "box")
    assert "refshapes-clip-tiny" not in printed("--head", "box")
    assert printed("--head", "nothing") == []
    assert {"refshapes-clip-tiny", "refshapes-dynrefer-tiny"} <= set(printed())  # whole names at 80 columns
