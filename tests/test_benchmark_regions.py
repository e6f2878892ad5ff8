"""The benchmark of regions prints and writes what it measured."""

import json
import runpy

import pytest


def run(repository, monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["benchmark_regions.py", *map(str, arguments)])
    runpy.run_path(str(repository / "tools/benchmark_regions.py"), run_name="__main__")


def test_times_are_printed_and_written(repository, monkeypatch, tmp_path, capsys):
    small = ["model.heads.caption.longest=2"]
    for loader in ("test", "train"):
        small += [f"{loader}_dataloader.dataset.scenes=3", f"{loader}_dataloader.dataset.keep=4"]
    file = tmp_path / "regions.json"
    run(repository, monkeypatch, "--regions", 2, "--repeats", 1, "--json", file, "--cfg-options", *small)
    printed = capsys.readouterr().out
    assert "captions from views, 2 beams (of 2)" in printed and "same captions" in printed
    written = json.loads(file.read_text())
    assert written["heads after the embedding"]["recognition only"]["per_second"] > 0


def test_arithmetic_is_printed(repository, monkeypatch, capsys):
    run(repository, monkeypatch, "--arithmetic", "--beams", 1, "--written", 1)
    printed = capsys.readouterr().out
    assert "tower" in printed and "781.079 GMAC" in printed and "categories only" in printed


def test_mistakes_end_with_one_line(repository, monkeypatch):
    with pytest.raises(SystemExit, match="at least 1"):
        run(repository, monkeypatch, "--regions", 0)
    with pytest.raises(SystemExit, match="nowhere"):
        run(repository, monkeypatch, "--config", "nowhere.py")
