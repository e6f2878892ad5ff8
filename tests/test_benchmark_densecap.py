"""tools/benchmark_densecap.py measures what the protocol computes."""

from __future__ import annotations

import json
import subprocess
import sys


def test_average_precisions_are_measured(repository, tmp_path):
    figures = tmp_path / "figures.json"
    command = [sys.executable, "tools/benchmark_densecap.py", "--detections", "60", "--images", "6"]
    environment = {"PATH": "", "PYTHONPATH": str(repository)}
    subprocess.run([*command, "--json", str(figures)], cwd=repository, env=environment, check=True)
    report = json.loads(figures.read_text())
    assert (report["detections"], report["images"]) == (60, 6)
    assert 0 < report["map"] < report["detection_map"] < 1
    assert report["seconds_35_average_precisions"] > 0
    assert "seconds_meteor" not in report
