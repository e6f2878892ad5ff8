"""Writing piece by piece: kills, torn lines, resumes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from refkit.leaderboard.predictions import (
    PredictionError,
    PredictionHeader,
    PredictionWriter,
    load_predictions,
)
from refkit.structures import Prediction

HEADER = PredictionHeader("toy.synthetic.val", "sha256:0", "m", settings={"resolution": 64})


def answers(*numbers):
    return [Prediction(f"r{number}", np.array([[0.0, 0.0, number, 1.0]])) for number in numbers]


@pytest.mark.parametrize("name", ["p.jsonl", "p.jsonl.gz"])
def test_a_complete_file_takes_its_name(tmp_path, name):
    path = tmp_path / name
    with PredictionWriter(path, HEADER) as writer:
        writer.write(answers(1, 2))
        assert not path.exists()
        assert writer.partial.exists()
        writer.write(answers(3))
    assert [item.name for item in tmp_path.iterdir()] == [name]
    assert list(load_predictions(path).predictions) == ["r1", "r2", "r3"]


def test_an_interrupted_run_is_continued(tmp_path):
    path = tmp_path / "p.jsonl"
    with pytest.raises(KeyError), PredictionWriter(path, HEADER) as writer:
        writer.write(answers(1, 2))
        raise KeyError
    assert not path.exists()
    with PredictionWriter(path, HEADER, resume=True) as writer:
        assert writer.done == {"r1", "r2"}
        writer.write(answers(3))
    uninterrupted = tmp_path / "q.jsonl"
    with PredictionWriter(uninterrupted, HEADER) as writer:
        writer.write(answers(1, 2, 3))
    assert path.read_bytes() == uninterrupted.read_bytes()


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_dropped(tmp_path, cut):
    writer = PredictionWriter(tmp_path / "p.jsonl", HEADER)
    writer.write(answers(1, 2, 3))
    writer.close()
    whole = writer.partial.read_bytes()
    writer.partial.write_bytes(whole[:-cut])
    with PredictionWriter(tmp_path / "p.jsonl", HEADER, resume=True) as again:
        assert again.done == {"r1", "r2"}
        again.write(answers(3))
    assert (tmp_path / "p.jsonl").read_bytes() == whole


def test_a_block_of_zeros_after_a_crash_is_dropped(tmp_path):
    writer = PredictionWriter(tmp_path / "p.jsonl", HEADER)
    writer.write(answers(1))
    writer.close()
    whole = writer.partial.read_bytes()
    writer.partial.write_bytes(whole + b"\0" * 100 + b"\n")
    again = PredictionWriter(tmp_path / "p.jsonl", HEADER, resume=True)
    again.close()
    assert again.done == {"r1"}
    assert again.partial.read_bytes() == whole


def test_a_torn_header_begins_anew(tmp_path):
    (tmp_path / "p.jsonl.partial").write_bytes(b'{"format": "refkit.pre')
    with PredictionWriter(tmp_path / "p.jsonl", HEADER, resume=True) as writer:
        assert writer.done == set()
        writer.write(answers(1))
    assert len(load_predictions(tmp_path / "p.jsonl").predictions) == 1


def test_damage_in_the_middle_is_an_error(tmp_path):
    writer = PredictionWriter(tmp_path / "p.jsonl", HEADER)
    writer.write(answers(1, 2, 3))
    writer.close()
    lines = writer.partial.read_bytes().splitlines(keepends=True)
    lines[2] = b"garbage\n"
    writer.partial.write_bytes(b"".join(lines))
    with pytest.raises(PredictionError, match=r"p.jsonl.partial:3: not JSON"):
        PredictionWriter(tmp_path / "p.jsonl", HEADER, resume=True)
    assert writer.partial.read_bytes() == b"".join(lines)


def test_another_run_does_not_continue_the_file(tmp_path):
    PredictionWriter(tmp_path / "p.jsonl", HEADER).close()
    other = PredictionHeader("toy.synthetic.val", "sha256:0", "m", settings={"resolution": 96})
    with pytest.raises(
        PredictionError, match=r"p.jsonl.partial:1: settings: .*64.* in the partial file, .*96"
    ):
        PredictionWriter(tmp_path / "p.jsonl", other, resume=True)
    later = PredictionHeader(
        "toy.synthetic.val", "sha256:0", "m", settings={"resolution": 64}, created="2026-11-20"
    )
    PredictionWriter(tmp_path / "p.jsonl", later, resume=True).close()


def test_without_resume_a_partial_file_is_begun_anew(tmp_path):
    writer = PredictionWriter(tmp_path / "p.jsonl", HEADER)
    writer.write(answers(1))
    writer.close()
    with PredictionWriter(tmp_path / "p.jsonl", HEADER) as again:
        assert again.done == set()
        again.write(answers(2))
    assert list(load_predictions(tmp_path / "p.jsonl").predictions) == ["r2"]


def test_an_id_twice_writes_nothing_of_its_batch(tmp_path):
    with PredictionWriter(tmp_path / "p.jsonl", HEADER) as writer:
        writer.write(answers(1))
        for batch in (answers(2, 1), answers(3, 3)):
            with pytest.raises(PredictionError, match="is answered twice"):
                writer.write(batch)
        assert writer.done == {"r1"}
    assert list(load_predictions(tmp_path / "p.jsonl").predictions) == ["r1"]


def test_two_writers_do_not_share_a_file(tmp_path):
    with PredictionWriter(tmp_path / "p.jsonl", HEADER) as writer:
        writer.write(answers(1))
        for resume in (False, True):
            with pytest.raises(PredictionError, match="another process is writing this file"):
                PredictionWriter(tmp_path / "p.jsonl", HEADER, resume=resume)
        writer.write(answers(2))
    assert list(load_predictions(tmp_path / "p.jsonl").predictions) == ["r1", "r2"]


ENDLESS = """
import sys
import numpy as np
from refkit.leaderboard.predictions import PredictionHeader, PredictionWriter
from refkit.structures import Prediction
header = PredictionHeader("toy.synthetic.val", "sha256:0", "m", settings={"resolution": 64})
writer = PredictionWriter(sys.argv[1], header)
for number in range(10**9):
    writer.write([Prediction(f"r{number}", np.array([[0.0, 0.0, number, 1.0]]))])
    if number == 20:
        print("running", flush=True)
"""


def test_a_killed_process_loses_nothing_but_a_torn_line(tmp_path):
    path = tmp_path / "p.jsonl"
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "running\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with PredictionWriter(path, HEADER, resume=True) as writer:
        done = len(writer.done)
        assert done > 20
        assert writer.done == {f"r{number}" for number in range(done)}
        writer.write(answers(done))
    assert len(load_predictions(path).predictions) == done + 1
