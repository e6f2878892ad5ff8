"""`compare` and its page: tests of every metric, samples that changed, hostile texts."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from refkit.cli.main import main
from refkit.data.records import write_records
from refkit.leaderboard.answer_cards import PageOptions
from refkit.leaderboard.comparison import ComparisonError, Pair, compare, to_json
from refkit.leaderboard.comparison_page import write_page
from refkit.leaderboard.comparison_table import render
from refkit.leaderboard.predictions import PredictionHeader, write_predictions
from refkit.leaderboard.scoring import ScoringError, score
from refkit.structures import Prediction

HOSTILE = '<script>alert("x")</script>\u2028</figure>'


@pytest.fixture
def better(scene):
    """Answers nearer to the truth, two of them missing."""
    answers = {}
    for one in scene.records[2:]:
        box = (np.asarray(one.targets[0].box) + np.asarray(scene.predictions[one.id].boxes[0])) / 2
        answers[one.id] = Prediction(one.id, box[None])
    return answers


@pytest.fixture
def found(scene, better):
    header = replace(scene.answering, model="better")
    pair = Pair((scene.header, scene.records), (header, better), (scene.answering, scene.predictions))
    return compare([pair], draws=500)[0]


def test_both_values_are_those_of_the_scores(scene, better, found):
    a = score((scene.header, scene.records), (scene.answering, better))
    b = score((scene.header, scene.records), (scene.answering, scene.predictions))
    for name, test in found.tests.items():
        assert (test.difference.a, test.difference.b) == (a[name], b[name])
        assert test.difference.difference == a[name] - b[name]
        low, high = test.difference.interval
        assert low <= test.difference.difference <= high
    assert (found.models, found.answered, found.n, found.images) == (("better", "jitter"), (58, 60), 60, 20)


def test_samples_that_changed_sides(scene, better, found):
    hits = [
        score((scene.header, scene.records), (scene.answering, answers)).per_sample.values["iou"] >= 0.5
        for answers in (better, scene.predictions)
    ]
    ids = np.array([one.id for one in scene.records])
    assert [one.id for one in found.only_a] == ids[hits[0] & ~hits[1]].tolist()
    assert [one.id for one in found.only_b] == ids[hits[1] & ~hits[0]].tolist()
    test = found.tests["acc50"].mcnemar
    assert (test.only_a, test.only_b) == (len(found.only_a), len(found.only_b))
    assert found.hit_metric == "acc50"
    assert all(one.iou[0] >= 0.5 > one.iou[1] for one in found.only_a)
    assert len(found.only_a) > 5


def test_hits_have_the_exact_test_and_means_the_bootstrap(found):
    assert found.tests["acc75"].p == found.tests["acc75"].mcnemar.p
    assert found.tests["miou"].mcnemar is None
    assert found.tests["miou"].p == found.tests["miou"].difference.p
    assert all(test.p_holm == test.p for test in found.tests.values())


def test_swapping_the_methods_swaps_the_signs(scene, better, found):
    header = replace(scene.answering, model="better")
    pair = Pair((scene.header, scene.records), (scene.answering, scene.predictions), (header, better))
    other = compare([pair], draws=500)[0]
    assert [one.id for one in other.only_a] == [one.id for one in found.only_b]
    for name, test in other.tests.items():
        assert test.difference.difference == -found.tests[name].difference.difference
        assert test.p == found.tests[name].p


def second_set(scene):
    records = [replace(one, id=f"other.{one.id}") for one in scene.records[:30]]
    header = replace(scene.header, split="test", digest="", digest_masks="", records=0, images=0)
    answers = {f"other.{key}": replace(value, id=f"other.{key}") for key, value in scene.predictions.items()}
    kept = {one.id: answers[one.id] for one in records}
    return header, records, kept


def test_several_sets_are_corrected_together(scene, better):
    header, records, answers = second_set(scene)
    answering = PredictionHeader("toy.synthetic.test", model="jitter")
    shifted = {key: replace(one, boxes=one.boxes + 4) for key, one in answers.items()}
    pairs = [
        Pair((scene.header, scene.records), (scene.answering, better), (scene.answering, scene.predictions)),
        Pair((header, records), (answering, answers), (answering, shifted)),
    ]
    comparisons = compare(pairs, draws=200)
    for name in comparisons[0].tests:
        raw = [one.tests[name].p for one in comparisons]
        adjusted = [one.tests[name].p_holm for one in comparisons]
        assert sorted(adjusted) == pytest.approx([min(1, 2 * min(raw)), min(1, max(2 * min(raw), max(raw)))])
    assert to_json(comparisons)["correction"] == "Holm over 2 sets of records"


def test_one_set_twice_is_refused(scene):
    answers = (scene.answering, scene.predictions)
    pair = Pair((scene.header, scene.records), answers, answers)
    with pytest.raises(ComparisonError, match=r"toy.synthetic.val stands twice"):
        compare([pair, pair], draws=10)


def test_predictions_of_other_records_are_refused(scene):
    answers = (scene.answering, scene.predictions)
    other = (replace(scene.answering, records_digest="sha256:" + "0" * 64), scene.predictions)
    with pytest.raises(ScoringError, match="records_digest"):
        compare([Pair((scene.header, scene.records), answers, other)])


def test_json_and_table(found):
    fields = to_json([found])
    text = json.dumps(fields, allow_nan=False)
    assert json.loads(text)["comparisons"][0]["metrics"]["acc50"]["mcnemar"]["only_a"] == len(found.only_a)
    console = Console(width=150, file=io.StringIO())
    console.print(render([found]))
    shown = console.file.getvalue()
    for part in ("better", "jitter", "Acc@0.5", "changed sides at Acc@0.5", "answered 58 and 60"):
        assert part in shown, part


@pytest.fixture
def files(scene, better, tmp_path):
    """The same as files, with a hostile text and name, and a picture for every second image."""
    records = [replace(one, text=HOSTILE) for one in scene.records]
    header = write_records(tmp_path / "r.jsonl", replace(scene.header, digest="", digest_masks=""), records)
    answering = PredictionHeader.answering(header, "<b>bold</b>")
    write_predictions(tmp_path / "a.jsonl", answering, better.values())
    write_predictions(tmp_path / "b.jsonl", answering, scene.predictions.values())
    (tmp_path / "pictures").mkdir()
    for number in range(0, 20, 2):
        Image.new("RGB", (200, 160), (90, 120, 60)).save(tmp_path / "pictures" / f"{number:04d}.jpg")
    return Pair(tmp_path / "r.jsonl", tmp_path / "a.jsonl", tmp_path / "b.jsonl")


def test_the_page_is_self_contained_and_escaped(files, tmp_path):
    comparisons = compare([files], draws=50)
    options = PageOptions(pictures=6, image_root=tmp_path / "pictures")
    path, missing = write_page(tmp_path / "page", [files], comparisons, options)
    page = path.read_text(encoding="utf-8")
    assert path == tmp_path / "page" / "index.html"
    assert "<script" not in page
    assert "<b>bold" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    shown = min(6, len(comparisons[0].only_a)) + min(6, len(comparisons[0].only_b))
    pictures = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)
    assert len(pictures) == shown
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0]))).width == 480
    assert 0 < missing < shown
    assert page.count("is not at hand") == missing
    again, _ = write_page(tmp_path / "again", [files], comparisons, options)
    assert again.read_text(encoding="utf-8") == page


def test_a_page_needs_files(scene, tmp_path):
    answers = (scene.answering, scene.predictions)
    pair = Pair((scene.header, scene.records), answers, answers)
    with pytest.raises(ComparisonError, match="as files"):
        write_page(tmp_path, [pair], compare([pair], draws=10), PageOptions())


def run(arguments):
    """Exit code of the program."""
    try:
        main(arguments)
    except SystemExit as stopped:
        return stopped.code
    return 0


def test_the_worst_come_first(files, tmp_path):
    """``--worst``: of two files the largest differences of IoU, of one file the lowest IoU."""
    two, one = tmp_path / "two", tmp_path / "one"
    arguments = ["compare", str(files.a), str(files.b), "--records", str(files.records), "--draws", "10"]
    assert run([*arguments, "--worst", "2", "--page", str(two)]) == 0
    sides = re.split("Only B is right", (two / "index.html").read_text("utf-8"))
    (comparison,) = compare([files], draws=10)
    for page, changed in zip(sides, (comparison.only_a, comparison.only_b), strict=True):
        gaps = sorted((abs(one.iou[0] - one.iou[1]) for one in changed), reverse=True)[:2]
        shown = [float(a) - float(b) for a, b in re.findall(r"IoU A ([\d.]+), B ([\d.]+)", page)]
        assert [abs(gap) for gap in shown] == pytest.approx(gaps, abs=0.011)
    arguments = ["compare", str(files.b), "--records", str(files.records)]
    assert run([*arguments, "--worst", "5", "--page", str(one)]) == 0
    page = (one / "index.html").read_text("utf-8")
    iou = score(files.records, files.b, draws=10).per_sample.values["iou"]
    shown = [float(value) for value in re.findall(r"IoU ([\d.]+), ok", page)]
    assert shown == pytest.approx(sorted(iou)[:5], abs=0.006)
    assert page.count("data:image/jpeg;base64,") == 5
    assert "<b>bold" not in page and "<script" not in page


def test_the_worst_need_a_folder_and_an_iou(files, tmp_path, capsys):
    arguments = ["compare", str(files.b), "--records", str(files.records), "--worst", "5"]
    assert run(arguments) != 0
    assert "--page" in capsys.readouterr().err
    assert run([*arguments, "--page", str(tmp_path / "page"), "--protocol", "rec/mdetr-giou"]) != 0
    assert "knows none per sample" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()
