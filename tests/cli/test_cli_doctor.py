"""``refkit doctor``: true on this machine, and still an answer where things are missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from typer.testing import CliRunner

from refkit import doctor
from refkit.cli.main import app
from refkit.doctor import Package

runner = CliRunner()


@pytest.fixture(scope="module")
def report():
    return doctor.diagnose()


def test_versions_are_those_that_are_imported(report):
    packages = {package["name"]: package for package in report["packages"]}
    assert packages["numpy"]["installed"] == np.__version__
    assert packages["torch"]["minimum"] == "2.11"
    assert packages["torch"]["fits"]
    assert packages["pytest"]["extra"] == "dev"
    assert packages["gradio"]["extra"] == "demo"
    assert report["accelerator"]["torch"] == torch.__version__
    assert report["accelerator"]["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert doctor.is_healthy(report)


def test_machine_facts(report):
    assert 1 <= report["cpu"]["cores"] <= os.cpu_count()
    assert 0 < report["memory_gib"]["available"] <= report["memory_gib"]["total"]
    assert isinstance(json.dumps(report), str)


def test_every_feature_says_what_to_do(report):
    assert {feature["name"] for feature in report["features"]} == set(doctor.FEATURES)
    for feature in report["features"]:
        assert bool(feature["missing"]) == bool(feature["remedy"])


def test_missing_parts_and_their_remedies():
    found = [
        Package("pycocoevalcap", "1.2", "1.2", "captions", True),
        Package("gradio", "5.0", "4.9", "demo", False),
    ]
    with_java = {feature.name: feature for feature in doctor.features(found, has_java=True)}
    without = {feature.name: feature for feature in doctor.features(found, has_java=False)}
    assert with_java["METEOR and the PTB tokeniser"].missing == []
    assert without["METEOR and the PTB tokeniser"].missing == ["java"]
    assert "Java runtime" in without["METEOR and the PTB tokeniser"].remedy
    assert without["caption metrics"].missing == []
    assert without["web demo"].missing == ["gradio"]
    assert without["web demo"].remedy == "pip install -e '.[demo]'"


def test_an_absent_or_old_package_does_not_fit():
    absent = doctor._package(Requirement("no-such-distribution>=1.0"))
    assert (absent.installed, absent.fits, absent.minimum) == (None, False, "1.0")
    old = doctor._package(Requirement('numpy>=999,<1000; extra == "dev"'))
    assert (old.fits, old.minimum, old.extra) == (False, "999", "dev")


def test_caches_and_data_follow_the_environment(tmp_path, monkeypatch):
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "weights").write_bytes(b"x" * 1000)
    (tmp_path / "hub" / "link").symlink_to(tmp_path / "hub" / "weights")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("REFKIT_CACHE", str(tmp_path / "absent"))
    monkeypatch.setenv("REFKIT_DATA", str(tmp_path))
    (tmp_path / "toy.jsonl.gz").write_bytes(b"")
    folders = {cache["name"]: cache for cache in doctor.caches()}
    assert folders["Hugging Face hub"]["path"] == str(tmp_path / "hub")
    assert folders["refkit"]["gib"] is None
    assert not (tmp_path / "absent").exists()
    assert 1000 <= doctor.folder_size(tmp_path / "hub") < 2000
    data = doctor.data_folder()
    assert (data["path"], data["from"], data["records"]) == (str(tmp_path), "REFKIT_DATA", ["toy.jsonl.gz"])
    assert data["free_gib"] > 0
    monkeypatch.setenv("REFKIT_DATA", str(tmp_path / "nowhere"))
    assert doctor.data_folder()["exists"] is False


def test_java_that_is_not_there_or_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.java_version() is None
    program = tmp_path / "java"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    assert doctor.java_version() is None
    program.write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\n")
    assert doctor.java_version() == 'openjdk version "17.0.1"'


def test_the_table(monkeypatch):
    result = runner.invoke(app, ["doctor"], env={"COLUMNS": "140"})
    assert result.exit_code == 0, result.output
    for part in ("Accelerator", "bfloat16", "Java", "Cache", "mmengine", "web demo"):
        assert part in result.output, part


WITHOUT_TORCH = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Absent())
from refkit.cli.main import main
main(sys.argv[1:])
"""


def test_without_torch_it_still_works_and_says_so():
    arguments = [sys.executable, "-c", WITHOUT_TORCH, "doctor"]
    table = subprocess.run(arguments, capture_output=True, text=True)
    assert table.returncode == 1
    assert "torch cannot be used: ModuleNotFoundError: No module named 'torch'" in table.stdout
    assert "Traceback" not in table.stderr
    done = subprocess.run([*arguments, "--json"], capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert report["accelerator"]["device"] is None
    assert report["packages"]
