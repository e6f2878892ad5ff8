"""torchrun with two processes over gloo: same metrics as one process, to the last bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from refkit.engine import load_config
from refkit.engine import test as evaluate_weights


def test_two_processes_train_and_evaluate_exactly(repository, toy_config, tmp_path):
    """11 training and 7 validation samples divide by neither two processes nor batches of two."""
    environment = {**os.environ, "PYTHONPATH": str(toy_config.parent), "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [
        *torchrun,
        str(repository / "tools" / "train.py"),
        str(toy_config),
        "--work-dir",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(
        [*command, "--cfg-options", "train_cfg.max_epochs=2", "optim_wrapper.accumulative_counts=2"],
        env=environment, capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "FutureWarning" not in done.stderr
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["processes"] == 2 and run["status"] == "finished"
    newest = Path((tmp_path / "run" / "last_checkpoint").read_text().strip())
    alone = evaluate_weights(load_config(toy_config), newest, tmp_path / "alone")
    assert alone == run["metrics"]
    files = [tmp_path / name / "predictions" / "squares.toy.n100.jsonl" for name in ("run", "alone")]
    answers = [file.read_text().splitlines()[1:] for file in files]
    assert answers[0] == answers[1] and len(answers[0]) == 7
