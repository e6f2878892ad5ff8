"""The benchmark of views runs and prints what it measured."""

import runpy

import numpy as np
import pytest
from PIL import Image


def run(repository, monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["benchmark_views.py", *map(str, arguments)])
    runpy.run_path(str(repository / "tools/benchmark_views.py"), run_name="__main__")


def test_every_figure_is_printed(repository, monkeypatch, tmp_path, capsys):
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "a.png")
    run(repository, monkeypatch, tmp_path, "--regions", 2, "--side", 16)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert all("ms per region (1 pictures)" in line for line in lines)
    assert sum("phash" in line for line in lines) == 2


def test_folders_without_pictures(repository, monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        run(repository, monkeypatch, tmp_path)
    assert left.value.code == 2
    assert "holds no .jpg or .png" in capsys.readouterr().err
