"""tools/publish_model.py: from a work folder to one file and its entry in a metafile."""

from __future__ import annotations

import runpy
import sys

import pytest
import yaml
from tiny_grounder import save_tiny_work_dir

from refkit.inference.inferencer import load_model
from refkit.zoo.index import file_sha256


def publish(repository, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["publish_model.py", *map(str, arguments)])
    runpy.run_path(str(repository / "tools/publish_model.py"), run_name="__main__")


def test_the_file_loads_and_the_entry_describes_it(repository, monkeypatch, tmp_path, capsys):
    work_dir = save_tiny_work_dir(tmp_path / "run")
    out = tmp_path / "tiny.safetensors"
    publish(repository, monkeypatch, work_dir, "--out", out)
    (entry,) = yaml.safe_load(capsys.readouterr().out)
    assert entry["SHA256"] == file_sha256(out)
    assert entry["Size"] == out.stat().st_size
    original, published = (load_model(path, device="cpu").model.state_dict() for path in (work_dir, out))
    assert all(original[name].equal(value) for name, value in published.items())


def test_a_folder_without_checkpoint_is_one_clear_line(repository, monkeypatch, tmp_path):
    with pytest.raises(SystemExit, match=r"error: .*no checkpoint in this folder"):
        publish(repository, monkeypatch, tmp_path, "--out", tmp_path / "x.safetensors")
