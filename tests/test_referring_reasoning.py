"""Questions about regions through the doors that users take: import, predict, answers for a judge."""

from __future__ import annotations

import json
import runpy

import numpy as np
import pytest
from PIL import Image
from tiny_describer import save_tiny_describer
from typer.testing import CliRunner

from refkit.cli.main import app

QUESTIONS = [
    (4, "What is the object [0.100, 0.200, 0.400, 0.500] for?"),
    (2, "Is the dog [0.1, 0.2, 0.4, 0.5] left of the cat [0.500, 0.200, 1.000, 0.500]?"),
]


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def records(tmp_path):
    """Ferret-Bench's layout, imported."""
    folder = tmp_path / "refer_reason"
    folder.mkdir()
    asked = [
        {"question_id": number, "image": "a.png", "category": "refer_reason", "text": text}
        for number, text in QUESTIONS
    ]
    told = [{"question_id": number, "text": "the red dog"} for number, _ in QUESTIONS]
    for name, lines in (("question", asked), ("answer", told)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (60, 96, 3), np.uint8)
    Image.fromarray(pixels).save(pictures / "a.png")
    run("data", "import", "ferret-bench", folder, "--sizes", pictures, "--out", tmp_path / "records")
    return tmp_path / "records" / "ferret-bench.refer-reason.test.jsonl"


def test_questions_are_answered_for_a_judge(records, tmp_path, monkeypatch, repository):
    model = save_tiny_describer(tmp_path, {"type": "Conversation", "training": False}, several="enclose")
    answers = tmp_path / "answers.jsonl"
    run("predict", records, "--model", model, "--out", answers, "--image-root", tmp_path / "pictures")
    predicted = [json.loads(line) for line in answers.read_text().splitlines()[1:]]
    assert all(answer["caption"] for answer in predicted)
    judged = tmp_path / "judge.jsonl"
    monkeypatch.setattr("sys.argv", ["judge_answers.py", str(records), str(answers), str(judged)])
    runpy.run_path(str(repository / "tools/judge_answers.py"), run_name="__main__")
    lines = [json.loads(line) for line in judged.read_text().splitlines()]
    assert [line["question_id"] for line in lines] == [4, 2]
    assert [line["text"] for line in lines] == [answer["caption"] for answer in predicted]


def test_a_question_about_two_regions_is_refused_unless_they_are_enclosed(records, tmp_path):
    model = save_tiny_describer(tmp_path, {"type": "Conversation", "training": False})
    answers = ["--out", tmp_path / "answers.jsonl", "--image-root", tmp_path / "pictures"]
    result = CliRunner().invoke(app, ["predict", str(records), "--model", str(model), *map(str, answers)])
    assert result.exit_code == 2
    assert "2 boxes" in result.stderr and "enclose" in result.stderr


def test_a_silent_language_model_is_counted(records, tmp_path):
    questions = {"type": "Conversation", "training": False}
    model = save_tiny_describer(tmp_path, questions, several="enclose", silent=True)
    answers = tmp_path / "answers.jsonl"
    run("predict", records, "--model", model, "--out", answers, "--image-root", tmp_path / "pictures")
    predicted = [json.loads(line) for line in answers.read_text().splitlines()[1:]]
    assert [answer["status"] for answer in predicted] == ["failed", "failed"]
    told = run("score", records, answers, "--protocol", "caption/expression", "--json", "-", "--draws", 0)
    assert json.loads(told.stdout)["invalid"]["n"] == 2
