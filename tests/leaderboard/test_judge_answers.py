"""Answers for a judge outside."""

import json
import runpy

import pytest

from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.leaderboard.judge_answers import JudgeError, write_judge_answers
from refkit.leaderboard.predictions import PredictionHeader, write_predictions
from refkit.structures import Prediction


@pytest.fixture
def questions(tmp_path):
    def make(**extra):
        records = [
            Record(
                f"q.{number}",
                ImageRef(f"{number}.jpg", 10, 10),
                text="Why?",
                targets=[Target(box=(1.0, 1.0, 5.0, 5.0))],
                facts={"kind": "refer_reason"},
                extra=extra or {"question_id": number},
            )
            for number in (4, 2, 9)
        ]
        header = Header("ferret-bench", "refer-reason", "test", task=["caption"])
        write_records(tmp_path / "r.jsonl", header, records)
        return tmp_path / "r.jsonl"

    return make


def predictions(folder, *answers):
    path = folder / "p.jsonl"
    write_predictions(path, PredictionHeader("ferret-bench.refer-reason.test", model="twin"), answers)
    return path


def test_answers_keep_the_order_and_numbers_of_the_questions(questions, tmp_path):
    given = predictions(
        tmp_path,
        Prediction("q.2", caption=" Because é. "),
        Prediction("q.4", status="failed", raw="?"),
        Prediction("q.9", caption="So."),
    )
    assert write_judge_answers(questions(), given, tmp_path / "a.jsonl") == 2
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()]
    assert [(line["question_id"], line["text"]) for line in lines] == [(4, ""), (2, "Because é."), (9, "So.")]
    assert lines[0] == {"question_id": 4, "image": "4.jpg", "category": "refer_reason", "text": ""}


def test_what_no_judge_can_use(questions, tmp_path):
    given = predictions(tmp_path, Prediction("q.2", caption="x"))
    with pytest.raises(JudgeError, match="no question_id"):
        write_judge_answers(questions(other=1), given, tmp_path / "a.jsonl")
    with pytest.raises(JudgeError, match="no answer"):
        write_judge_answers(
            questions(), predictions(tmp_path, Prediction("z", caption="x")), tmp_path / "a.jsonl"
        )
    assert not (tmp_path / "a.jsonl").exists()


def test_the_tool(questions, tmp_path, monkeypatch, capsys, repository):
    given = predictions(tmp_path, Prediction("q.2", caption="x"))
    tool = str(repository / "tools/judge_answers.py")
    monkeypatch.setattr(
        "sys.argv", ["judge_answers.py", str(questions()), str(given), str(tmp_path / "a.jsonl")]
    )
    runpy.run_path(tool, run_name="__main__")
    assert "1 questions answered" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["judge_answers.py", "none.jsonl", str(given), "a.jsonl"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(tool, run_name="__main__")
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
