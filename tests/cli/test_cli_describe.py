"""``refkit describe``: JSON alone on stdout, a picture on disk, errors that say what to do."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_models as tiny
from PIL import Image
from tiny_describer import save_tiny_describer
from tiny_grounder import save_tiny_model
from typer.testing import CliRunner

from refkit.cli.describe import _summary
from refkit.cli.main import app
from refkit.inference.describing import Description, describe
from refkit.inference.inferencer import load_model
from refkit.structures import Prediction


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny_describer(tmp_path_factory.mktemp("regions"))


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    return save_tiny_describer(
        tmp_path_factory.mktemp("questions"), {"type": "Conversation", "training": False}
    )


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    return save_tiny_describer(tmp_path_factory.mktemp("silent"), silent=True)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    pixels = np.random.default_rng(1).integers(0, 255, (60, 96, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("picture") / "dog.png"
    Image.fromarray(pixels).save(path)
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["describe", *map(str, arguments)])


def test_everything_about_a_region(weights, picture, tmp_path):
    out = tmp_path / "answer.png"
    result = run(picture, "--model", weights, "--box", "10,5,50,40", "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    (region,) = answer["regions"]
    assert region["box"] == [10, 5, 50, 40] and region["views"] == [0, 0.5]
    assert set(region["attributes"]) == {"bright", "dark"} and list(region["categories"]) == tiny.WORDS[4:7]
    assert region["caption"] and 0 < region["caption_score"] <= 1
    assert (answer["width"], answer["height"], answer["picture"]) == (96, 60, str(out))
    with Image.open(out) as drawn:
        assert drawn.width >= 96 and drawn.height > 60


def test_a_box_partly_outside_is_clipped_and_that_is_told(weights, picture, tmp_path):
    out = tmp_path / "answer.png"
    boxes = ["--box", "84,40,200,58", "--box", "-8.5,5,50,70", "--box", "10,5,50,40"]
    result = run(picture, "--model", weights, *boxes, "--task", "categories", "--out", out)
    assert result.exit_code == 0, result.stderr
    regions = json.loads(result.stdout)["regions"]
    assert [region["box"] for region in regions] == [[84, 40, 96, 58], [0, 5, 50, 60], [10, 5, 50, 40]]
    (line,) = [line for line in result.stderr.splitlines() if "clipped" in line]
    assert line.startswith("2 of 3 boxes reach beyond the picture of 96 x 60")
    assert "[84.0, 40.0, 200.0, 58.0] to [84.0, 40.0, 96.0, 58.0]" in line
    inside = run(picture, "--model", weights, "--box", "10,5,50,40", "--json-only")
    assert "clipped" not in inside.stderr


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            Prediction(
                "1",
                caption="a red dog",
                categories={"dog": 0.5, "cat": 0.2},
                attributes={"wet": 0.2, "red": 0.71, "old": 0.4, "big": 0.3},
                tags={"dog": 0.9, "red": 0.8},
            ),
            'caption "a red dog"; class dog; attributes red 0.71, old 0.40, big 0.30; tags dog, red',
        ),
        (Prediction("1", status="failed", tags={}), "caption (nothing was written)"),
        (Prediction("1", categories={"dog": -0.5, "cat": 0.2}), "class cat"),
    ],
)
def test_the_picture_names_what_it_tells(said, expected):
    assert _summary(Description((0, 0, 5, 5), (0.0,), said)) == expected


def test_many_regions_one_task_and_their_views(weights, picture, tmp_path):
    boxes = [[0, 0, 96, 60], [10, 5, 50, 40], [70, 20, 90, 58]]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    out = tmp_path / "views.png"
    arguments = ["--all-boxes", tmp_path / "boxes.json", "--task", "categories", "--show-views", "--out", out]
    result = run(picture, "--model", weights, *arguments)
    assert result.exit_code == 0, result.stderr
    regions = json.loads(result.stdout)["regions"]
    assert [region["box"] for region in regions] == boxes
    assert all(set(region) == {"box", "views", "categories"} for region in regions)
    with Image.open(out) as drawn:
        assert drawn.height > 3 * 200


def test_a_question_about_every_region(questions, weights, picture):
    box = ["--box", "10,5,50,40", "--box", "70,20,90,58", "--task", "caption", "--json-only"]
    answers = []
    for question in ("red dog ?", "cat left of the circle ?"):
        result = run(picture, "--model", questions, *box, "--ask", question)
        assert result.exit_code == 0, result.stderr
        answers.append([region["caption_score"] for region in json.loads(result.stdout)["regions"]])
    assert len(answers[0]) == 2 and answers[0] != answers[1]
    for model, asked, message in (
        (questions, [], "--ask"),
        (weights, ["--ask", "why?"], "takes no questions"),
    ):
        result = run(picture, "--model", model, *box, *asked)
        assert result.exit_code == 2 and message in " ".join(result.stderr.split())


def test_other_names_are_recognised(weights, picture, tmp_path):
    (tmp_path / "looks.json").write_text(json.dumps({"red": ["the red dog", "red"], "blue": ["blue cat"]}))
    given = ["--names", "categories=cat, big dog", "--names", f"attributes={tmp_path / 'looks.json'}"]
    result = run(picture, "--model", weights, "--box", "10,5,50,40", "--json-only", *given)
    assert result.exit_code == 0, result.stderr
    (region,) = json.loads(result.stdout)["regions"]
    assert list(region["categories"]) == ["cat", "big dog"] and list(region["attributes"]) == ["red", "blue"]


def test_a_region_about_which_nothing_is_written_is_marked(silent, picture, tmp_path):
    out = tmp_path / "a.png"
    result = run(picture, "--model", silent, "--box", "10,5,50,40", "--out", out)
    assert result.exit_code == 0, result.stderr
    (region,) = json.loads(result.stdout)["regions"]
    assert region["status"] == "failed" and "caption" not in region
    assert region["categories"] and out.is_file()


def test_regions_of_one_batch_are_described_as_if_alone(weights, picture):
    inferencer = load_model(weights, "cpu")
    boxes = [[0, 0, 96, 60], [10, 5, 50, 40], [70, 20, 90, 58]]
    together = describe(inferencer, picture, boxes, ["attributes"])
    for box, expected in zip(boxes, together, strict=True):
        (alone,) = describe(inferencer, picture, [box], ["attributes"], batch_size=1)
        assert alone.prediction.attributes == pytest.approx(expected.prediction.attributes, abs=1e-6)
        assert alone.box == expected.box == tuple(box)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which region"),
        (["--box", "1,2,3"], "expected left,top,right,bottom"),
        (["--box", "1,2,3,x"], "expected left,top,right,bottom"),
        (["--box", "50,5,10,40"], "is reversed"),
        (["--box", "5,5,5,40"], "has no area"),
        (["--box", "nan,5,10,40"], "is not finite"),
        (["--box", "200,5,300,40"], "lies outside the picture of 96 x 60"),
        (["--box", "1,2,30,40", "--task", "colour"], "no head of this model answers 'colour'"),
        (["--box", "1,2,30,40", "--names", "colours=red"], "recognises 'colours'"),
        (["--box", "1,2,30,40", "--names", "categories="], "expected task=name,name"),
        (["--box", "1,2,30,40", "--names", "tags=none.txt"], "none.txt: no readable list of names"),
        (["--box", "1,2,30,40", "--names", "tags=,"], "'' or a prompt of it is empty"),
        (["--box", "1,2,30,40", "--names", "categories=cat,..."], "'...' has no word that the text encoder"),
        (["--all-boxes", "nowhere.json"], "nowhere.json: no readable list of boxes"),
    ],
)
def test_bad_questions_are_refused(weights, picture, arguments, message):
    result = run(picture, "--model", weights, "--json-only", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_an_empty_list_of_tags_is_refused(weights, picture, tmp_path):
    (tmp_path / "tags.txt").write_text("")
    box = ["--box", "1,2,30,40", "--names", f"tags={tmp_path / 'tags.txt'}", "--json-only"]
    result = run(picture, "--model", weights, *box)
    assert result.exit_code == 2 and "tags.txt: an empty vocabulary" in " ".join(result.stderr.split())


def test_a_model_of_sentences_is_refused(picture, tmp_path):
    result = run(picture, "--model", save_tiny_model(tmp_path), "--box", "1,2,30,40", "--json-only")
    assert result.exit_code == 2 and "does not describe regions" in " ".join(result.stderr.split())


def test_files_of_another_content_are_refused(weights, picture, tmp_path):
    (tmp_path / "boxes.json").write_text("[[1, 2], [3, 4]]")
    result = run(picture, "--model", weights, "--all-boxes", tmp_path / "boxes.json")
    assert "expected a list of [left, top, right, bottom]" in " ".join(result.stderr.split())
