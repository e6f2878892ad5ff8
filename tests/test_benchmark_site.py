"""tools/benchmark_site.py on a few entries."""

import json
import subprocess
import sys


def test_a_site_of_invented_entries(repository, tmp_path):
    command = [sys.executable, str(repository / "tools" / "benchmark_site.py")]
    done = subprocess.run(
        [*command, "--entries", "3", "--json", str(tmp_path / "a.json")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert report["entries"] == 3 and report["pages"] >= 3 and report["seconds"] > 0
    wrong = subprocess.run([*command, "--entries", "0"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 2 and "at least 1" in wrong.stderr
