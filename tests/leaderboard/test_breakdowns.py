"""Breakdowns: word classes, groups, known objects, kinds of errors, calibration."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.leaderboard.breakdowns.analysis import BreakdownError
from refkit.leaderboard.breakdowns.objects import ObjectsError
from refkit.leaderboard.breakdowns.rules import load_rules
from refkit.leaderboard.breakdowns.words import tokens, word_classes, word_counts
from refkit.leaderboard.predictions import PredictionHeader
from refkit.leaderboard.scoring import score
from refkit.metrics.protocol import get_protocol
from refkit.structures import Prediction

TARGET = (10.0, 10.0, 50.0, 50.0)
HIT, NEAR, FAR = (10.0, 10.0, 50.0, 45.0), (30.0, 10.0, 70.0, 50.0), (300.0, 200.0, 340.0, 240.0)


def record(number, text="it", box=TARGET, image="a.jpg", category="dog", facts=None, **fields):
    targets = fields.pop("targets", [Target(box=box, category=category)])
    return Record(f"r{number}", ImageRef(image, 400, 300), text, targets, facts=facts, **fields)


def scored(records, boxes, scores=None, **options):
    protocol = get_protocol(options.get("protocol", "rec/1"))
    header = Header("toy", "synthetic", "val", task=[protocol.task])
    answers = {}
    for place, (one, box) in enumerate(zip(records, boxes, strict=True)):
        confidence = None if scores is None else np.array([scores[place]])
        array = np.zeros((0, 4)) if box is None else np.array([box])
        answers[one.id] = Prediction(one.id, array, None if box is None else confidence)
    options = {"by": "all", "draws": 100} | options
    return score((header, records), (PredictionHeader.answering(header, "m"), answers), **options)


def counts(cells):
    return {label: cell.n for label, cell in cells.items()}


def test_words_are_lower_case_without_marks():
    assert tokens("The man's LEFT-hand, isn't it?") == ["the", "mans", "left", "hand", "isnt", "it"]
    assert tokens("“second” dog…") == ["second", "dog"]
    assert word_counts(["a b  c", "", "x"]).tolist() == [3, 0, 1]


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("place_words", "dog left of the bench", "leftover pizza"),
        ("ordinals", "3rd from the end", "three dogs"),
        ("colours", "the BLUE-ish one", "bluetooth speaker"),
        ("relations", "dog in front of the car", "the front of house"),
        ("negation", "man w/o hat", "note book"),
        ("comparatives", "bigger than him", "the big one"),
    ],
)
def test_word_classes(name, inside, outside):
    found = word_classes([inside, outside, ""], load_rules().words)[name]
    assert found.tolist() == [True, False, False]


def test_a_phrase_does_not_run_into_the_next_text():
    lists = {"relations": ("in front of",)}
    assert not word_classes(["dog in", "front of house", "in front"], lists)["relations"].any()
    assert word_classes(["x", "in front of"], lists)["relations"].tolist() == [False, True]


def test_every_list_holds_what_its_tokens_can_be():
    rules = load_rules()
    for name, entries in rules.words.items():
        assert len(set(entries)) == len(entries), name
        for entry in entries:
            assert " ".join(tokens(entry)) == entry, (name, entry)


def test_groups_of_texts_and_targets():
    texts = [
        "left dog",
        "the dog that sits in front",
        "one two three four five six seven eight",
        " ".join("x" * 11),
    ]
    boxes = [TARGET, (0.0, 0.0, 128.0, 128.0), (100.0, 0.0, 356.0, 256.0), (0.0, 0.0, 400.0, 300.0)]
    records = [
        record(place, text, box, category=category)
        for place, (text, box, category) in enumerate(
            zip(texts, boxes, ("dog", "Person", None, "cat"), strict=True)
        )
    ]
    by = scored(records, boxes).by
    assert counts(by["length"]) == {"1-5": 1, "6-7": 1, "8-10": 1, "11+": 1}
    assert counts(by["size"]) == {"below 128": 1, "128 to 256": 2, "above 256": 1}
    assert counts(by["people"]) == {"people": 1, "things": 2}
    assert counts(by["category"]) == {"Person": 1, "cat": 1, "dog": 1, "(unknown)": 1}
    assert counts(by["position"]) == {"top left": 2, "middle centre": 2}
    assert counts(by["relative_area"]) == {"below 5 %": 1, "10 to 20 %": 1, "40 % and more": 2}
    assert counts(by["place_words"]) == {"with": 2, "without": 2}
    assert "same_class" not in by
    assert "targets" not in by


def test_repeated_texts_count_once_in_a_group_whatever_the_order():
    records = [
        record(1, "dog"),
        record(0, "dog"),
        record(2, "dog", box=FAR),
        record(3, "dog", image="b.jpg"),
        record(4, "Dog"),
    ]
    boxes = [FAR, TARGET, FAR, TARGET, TARGET]
    first = scored(records, boxes).by["repetition"]
    assert counts(first) == {"first use": 4, "repeated text": 1}
    assert first["repeated text"].metrics["acc50"].value == 0.0  # r0 comes before r1
    assert scored(records[::-1], boxes[::-1]).by["repetition"] == first


def test_records_without_or_with_several_targets_stand_apart():
    two = [Target(box=TARGET, category="dog"), Target(box=FAR, category="dog")]
    records = [record(0), record(1, targets=[]), record(2, targets=two)]
    result = scored(records, [TARGET, None, TARGET], protocol="grec/1")
    assert counts(result.by["targets"]) == {"no target": 1, "one target": 1, "several targets": 1}
    assert sum(counts(result.by["size"]).values()) == 1
    assert sum(counts(result.by["length"]).values()) == 3
    assert sum(counts(result.analysis.errors).values()) == 1


def test_words_about_given_regions_hit_and_miss_nothing():
    """Models that describe regions repeat the given box, and its score is that of a caption."""
    records = [record(0), record(1)]
    words = {
        one.id: Prediction(one.id, np.array([TARGET]), np.array([0.3]), categories={"dog": 1.0})
        for one in records
    }
    header = Header("toy", "synthetic", "val", task=["recognition"])
    answers = PredictionHeader.answering(header, "m"), words
    result = score((header, records), answers, "recognition/top1", by="all", draws=20)
    assert result["top1"] == 1.0
    assert not result.analysis.errors and result.analysis.calibration is None


SCENE = {"objects": [list(TARGET), list(NEAR), list(FAR)], "object_categories": ["dog", "dog", "cat"]}


def test_kinds_of_errors():
    answers = [HIT, NEAR, FAR, (10.0, 10.0, 50.0, 20.0), (200.0, 0.0, 210.0, 10.0), None]
    records = [record(place, facts=SCENE) for place in range(6)]
    analysis = scored(records, answers).analysis
    assert counts(analysis.errors) == {
        "hit": 1,
        "wrong instance of the class": 1,
        "object of another class": 1,
        "another object, class unknown": 0,
        "part of the target": 1,
        "nothing": 1,
        "no usable answer": 1,
    }
    assert (analysis.objects, analysis.objects_complete) == ("facts of the records", True)
    shares = [cell.metrics["share"].value for cell in analysis.errors.values()]
    assert sum(shares) == pytest.approx(1.0)


def test_the_object_of_highest_overlap_is_the_one_that_was_hit():
    overlapping = {
        "objects": [list(FAR), [302.0, 200.0, 342.0, 240.0], list(TARGET)],
        "object_categories": ["cat", "dog", "dog"],
    }
    result = scored(
        [record(0, facts=overlapping), record(1, facts=overlapping)], [FAR, (302.0, 200.0, 343.0, 240.0)]
    )
    kinds = counts(result.analysis.errors)
    assert (kinds["object of another class"], kinds["wrong instance of the class"]) == (1, 1)


def test_objects_without_categories_are_named_so():
    facts = {"objects": [list(TARGET), list(FAR)]}
    errors = scored([record(0, facts=facts)], [FAR]).analysis.errors
    assert counts(errors)["another object, class unknown"] == 1


def test_the_targets_of_other_records_are_known_objects_too():
    records = [record(0), record(1, box=FAR, category="dog"), record(2, box=FAR, category="dog")]
    analysis = scored(records, [FAR, FAR, FAR]).analysis
    assert counts(analysis.errors)["wrong instance of the class"] == 1
    assert not analysis.objects_complete
    elsewhere = [records[0], replace(records[1], image=ImageRef("b.jpg", 400, 300))]
    assert counts(scored(elsewhere, [FAR, FAR]).analysis.errors)["nothing"] == 1


def test_pairs_in_pieces_give_the_same_kinds(monkeypatch):
    rng = np.random.default_rng(0)
    records, boxes = [], []
    for place in range(300):
        corner = rng.uniform(0, 200, 2)
        box = tuple(float(value) for value in (*corner, *(corner + 40)))
        records.append(record(place, box=box, image=f"{place % 7}.jpg", category=("dog", "cat")[place % 2]))
    for one in records:
        boxes.append(records[rng.integers(300)].targets[0].box if rng.random() < 0.8 else one.targets[0].box)
    whole = scored(records, boxes).analysis.errors
    monkeypatch.setattr("refkit.leaderboard.breakdowns.errors.PAIRS_AT_ONCE", 64)
    assert scored(records, boxes).analysis.errors == whole
    assert counts(whole)["wrong instance of the class"] > 5


def test_other_objects_of_the_class(tmp_path):
    stated = [record(place, facts={"same_class": place}) for place in range(8)]
    by = scored(stated, [TARGET] * 8).by["same_class"]
    assert counts(by) == {"0": 1, "1": 1, "2": 1, "3-5": 3, "6+": 2}
    counted = scored([record(0, facts=SCENE), record(1, facts=SCENE, box=FAR, category="cat")], [HIT, FAR])
    assert counts(counted.by["same_class"]) == {"0": 1, "1": 1}


def xywh(box):
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def coco(path):
    annotations = [
        {"image_id": 1, "bbox": xywh(TARGET), "category_id": 7},
        {"image_id": 1, "bbox": xywh(FAR), "category_id": 7, "iscrowd": 0},
        {"image_id": 1, "bbox": xywh(NEAR), "category_id": 7, "iscrowd": 1},
    ]
    content = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": annotations}
    path.write_text(json.dumps(content | {"categories": [{"id": 7, "name": "dog"}]}))
    return path


def lines(path):
    entry = {"image": "a.jpg", "boxes": [xywh(TARGET), xywh(FAR)], "categories": ["dog", "dog"]}
    path.write_bytes(gzip.compress((json.dumps(entry) + "\n").encode()))
    return path


@pytest.mark.parametrize(("write", "name"), [(coco, "instances.json"), (lines, "objects.jsonl.gz")])
def test_objects_from_a_file(tmp_path, write, name):
    records = [record(0, image="folder/a.jpg"), record(1, image="folder/a.jpg")]
    result = scored(records, [FAR, NEAR], objects=write(tmp_path / name))
    assert counts(result.by["same_class"]) == {"1": 2}
    kinds = counts(result.analysis.errors)
    assert (kinds["wrong instance of the class"], kinds["part of the target"]) == (1, 1)
    assert result.analysis.objects.startswith("sha256:")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("o.json", "{}", "expected COCO instances"),
        ("o.json", "[", "not JSON"),
        ("o.json", '{"images": [{"id": 1}], "annotations": [], "categories": []}', "file_name"),
        ("o.jsonl", '{"boxes": []}\n', "o.jsonl:1: image: missing"),
        (
            "o.jsonl",
            '{"image": "a.jpg", "boxes": [[1, 2, 3]], "categories": ["x"]}\n',
            r"boxes\[0\]: expected four",
        ),
        ("o.jsonl", '{"image": "a.jpg", "boxes": [[1, 2, 3, 1e400]], "categories": ["x"]}\n', r"boxes\[0\]"),
        ("o.jsonl", '{"image": "a.jpg", "boxes": [], "categories": ["x"]}\n', "as many category names"),
        ("o.jsonl", '{"image": "z.jpg", "boxes": [], "categories": []}\n', "knows none of the 1 pictures"),
    ],
)
def test_broken_files_of_objects(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ObjectsError, match=message):
        scored([record(0)], [TARGET], objects=tmp_path / name)


def test_broken_facts_name_their_record():
    with pytest.raises(ObjectsError, match=r"record 'r0': facts.objects"):
        scored([record(0, facts={"objects": "none"})], [TARGET])


def test_calibration():
    records = [record(place, image=f"{place}.jpg") for place in range(10)]
    answers, scores = [TARGET] * 6 + [FAR] * 4, [0.95] * 5 + [0.55] * 5
    calibration = scored(records, answers, scores).analysis.calibration
    assert counts(calibration.bins) == {"0.5 to 0.6": 5, "0.9 to 1.0": 5}
    low = calibration.bins["0.5 to 0.6"].metrics
    assert (low["accuracy"].value, low["confidence"].value) == pytest.approx((0.2, 0.55))
    assert calibration.error == pytest.approx(0.5 * 0.35 + 0.5 * 0.05)
    assert scored(records, answers).analysis.calibration is None
    assert scored(records, answers, [7.0] * 10).analysis.calibration is None


def test_the_histogram_of_iou():
    records = [record(place, image=f"{place}.jpg") for place in range(3)]
    histogram = scored(records, [TARGET, FAR, HIT]).analysis.iou_histogram
    assert {label: n for label, n in counts(histogram).items() if n} == {
        "0.0 to 0.1": 1,
        "0.8 to 0.9": 1,
        "0.9 to 1.0": 1,
    }


def test_cells_are_those_of_masked_metrics():
    rng = np.random.default_rng(1)
    records = [record(place, ("left", "dog")[place % 2], image=f"{place // 4}.jpg") for place in range(80)]
    boxes = [tuple(np.array(TARGET) + rng.normal(0, 8, 4)) for _ in records]
    result = scored(records, boxes, draws=500)
    iou = result.per_sample.values["iou"]
    cell = result.by["place_words"]["with"]
    assert cell.metrics["miou"].value == pytest.approx(iou[::2].mean(), abs=1e-15)
    assert cell.metrics["acc75"].value == (iou[::2] >= 0.75).mean()
    low, high = cell.metrics["miou"].interval
    assert low < cell.metrics["miou"].value < high
    fields = result.to_json()
    assert fields["analysis"]["rules"]["version"] == load_rules().version
    assert fields["by"]["place_words"]["with"]["n"] == 40
    json.dumps(fields, allow_nan=False)


def test_a_breakdown_that_the_records_do_not_allow():
    with pytest.raises(BreakdownError, match="--objects FILE"):
        scored([record(0)], [TARGET], by="same_class")
    with pytest.raises(BreakdownError, match="built-in breakdowns are all, length"):
        scored([record(0)], [TARGET], by=["nonsense"])


REAL = {
    "refcoco.unc.val": (566, 65, 4.2, (85, 9, 4, 1), (35, 15, 25, 25)),
    "refcoco.unc.testA": (308, 54, 2.6, (86, 10, 4, 1), (27, 17, 28, 28)),
    "refcoco.unc.testB": (301, 79, 6.6, (86, 9, 4, 1), (43, 17, 21, 19)),
    "refcocoplus.unc.testA": (453, 10, 0.2, (86, 9, 4, 1), (27, 17, 28, 28)),
    "refcocoplus.unc.testB": (225, 25, 0.6, (83, 11, 5, 1), (44, 18, 20, 17)),
    "refcocog.umd.val": (7, 36, 1.0, (23, 21, 30, 26), (54, 27, 19, 0)),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_the_facts_of_real_evaluation_splits(shared, tmp_path, name):
    """Evaluation specification 1.1: surplus copies, place words, ordinals, words, others of the class."""
    from refkit.data.sources.jsonl import read
    from refkit.data.sources.spec import Skips

    folder = shared / "data" / "refcoco_full_eval"
    (part,) = read(
        [folder / f"{name.replace('.unc', '').replace('.umd', '').replace('.', '_')}.jsonl.gz"], Skips()
    )
    header = write_records(tmp_path / "r.jsonl", part.header, part.records)
    assert header.name == name
    none = (PredictionHeader.answering(header, "silent"), {})
    by = score(
        tmp_path / "r.jsonl", none, by="all", draws=0, objects=folder / "coco_boxes_of_eval_images.jsonl.gz"
    ).by
    copies, place, ordinal, words, others = REAL[name]

    def percent(breakdown, label):
        return 100 * by[breakdown][label].n / header.records if label in by[breakdown] else 0.0

    assert by["repetition"]["repeated text"].n == copies
    assert percent("place_words", "with") == pytest.approx(place, abs=0.6)
    assert percent("ordinals", "with") == pytest.approx(ordinal, abs=0.15)
    assert [percent("length", label) for label in ("1-5", "6-7", "8-10", "11+")] == pytest.approx(
        words, abs=0.6
    )
    assert [percent("same_class", label) for label in ("1", "2", "3-5", "6+")] == pytest.approx(
        others, abs=0.6
    )


def test_drawn_scenes_know_all_their_objects():
    from refkit.data.refshapes.world import iter_records

    records = list(iter_records(0, 0, 3, 64))
    result = scored(records, [one.targets[0].box for one in records])
    assert result.analysis.objects_complete
    assert sum(counts(result.by["same_class"]).values()) == len(records)
    assert "kind" in result.by
    for one in records:
        assert one.facts["object_categories"][one.targets[0].id] == one.targets[0].category
