"""Attributes and recognition against their reference values and against pycocotools."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest
from metric_fixtures import attribute_pairs, fixture, recognition_pairs, values

from refkit.data.records import ImageRef, Record, Target
from refkit.metrics.average_precision import RankedLabels, interpolated
from refkit.metrics.protocol import ProtocolError
from refkit.metrics.recognition import best_category
from refkit.structures import Prediction


def test_attributes_equal_the_reference():
    reference = fixture("attributes")
    expected = reference.expected["box"]
    found, evaluation = values("attributes/box", attribute_pairs(reference))
    assert found["map"] == pytest.approx(expected["map"].pop("all"), abs=reference.tolerance)
    for group, value in expected["map"].items():
        assert found[f"map_{group}"] == pytest.approx(value, abs=reference.tolerance), group
    for name, value in expected["ap"].items():
        single = evaluation.details["average precision"][name]
        assert (
            math.isnan(single) if value is None else single == pytest.approx(value, abs=reference.tolerance)
        )


def test_equal_scores_enter_at_once():
    scores, positive = np.array([0.5, 0.5, 0.1]), np.array([True, False, True])
    ranked = RankedLabels.of(scores, positive, np.arange(3))
    backwards = RankedLabels.of(scores[::-1], positive[::-1], np.arange(3)[::-1])
    assert ranked.average_precision(np.ones(3)) == pytest.approx(0.5 * 0.5 + 0.5 * 2 / 3)
    assert backwards.average_precision(np.ones(3)) == ranked.average_precision(np.ones(3))


def test_counting_a_sample_twice_equals_having_it_twice():
    rng = np.random.default_rng(0)
    scores, positive, counts = rng.random(30).round(1), rng.random(30) < 0.4, rng.integers(0, 4, 30)
    twice = np.repeat(np.arange(30), counts)
    once = RankedLabels.of(scores[twice], positive[twice], np.arange(len(twice)))
    weighted = RankedLabels.of(scores, positive, np.arange(30)).average_precision(counts.astype(float))
    assert weighted == pytest.approx(once.average_precision(np.ones(len(twice))))


def test_unusable_attributes():
    record = Record("a", ImageRef("a.jpg", 10, 10), labels={"red": 1, "wet": 0})
    found, evaluation = values("attributes/box", [(record, None), (record, Prediction("a"))])
    assert evaluation.invalid.tolist() == [False, True]
    assert found["map"] == 1.0
    assert math.isnan(found["map_head"])
    with pytest.raises(ProtocolError, match="record 'b' has no labels"):
        values("attributes/box", [(Record("b", ImageRef("a.jpg", 10, 10)), None)])
    for groups in ({"red": "rare"}, {"red": "tail"}):
        first = Record(
            "c", ImageRef("a.jpg", 9, 9), labels={"red": 1}, facts={"attribute_groups": {"red": "head"}}
        )
        other = Record("d", ImageRef("a.jpg", 9, 9), labels={"red": 1}, facts={"attribute_groups": groups})
        with pytest.raises(ProtocolError, match=r"record 'd': facts.attribute_groups.red"):
            values("attributes/box", [(first, None), (other, None)])


def test_names_that_do_not_meet_are_worth_a_warning():
    record = Record("a", ImageRef("a.jpg", 10, 10), labels={"color:red": 1})
    _, evaluation = values("attributes/box", [(record, Prediction("a", attributes={"red": 0.9}))])
    assert evaluation.warnings == (
        "1 predicted attributes are labelled nowhere, such as 'red'",
        "1 of 1 attributes are never predicted, such as 'color:red'",
    )


@pytest.mark.parametrize("name", ["top1", "all"])
def test_recognition_equals_the_reference(name):
    reference = fixture("recognition")
    found, _ = values(f"recognition/{name}", recognition_pairs(reference))
    detection = reference.expected["top1-detection" if name == "top1" else "all-scores-detection"]
    for key, value in detection.items():
        assert found[key] == pytest.approx(value, abs=reference.tolerance), key
    accuracy = reference.expected["accuracy"]
    assert found["top1"] == pytest.approx(accuracy["top1"], abs=reference.tolerance)
    assert found["top1_per_category"] == pytest.approx(accuracy["mean_class"], abs=reference.tolerance)


def crowded(seed, images=12, names=("cat", "dog", "cup")):
    """Boxes that overlap each other strongly, so that detections compete for truths."""
    rng = np.random.default_rng(seed)
    for number in range(images * 9):
        corner, side = rng.uniform(0, 30, 2), rng.uniform(40, 60, 2)
        box = tuple(np.concatenate((corner, corner + side)).round(2).tolist())
        record = Record(
            str(number),
            ImageRef(f"{number // 9}.jpg", 200, 200),
            targets=[Target(box=box, category=names[rng.integers(len(names))])],
        )
        scores = dict(zip((*names, "tree"), rng.random(len(names) + 1).round(2).tolist(), strict=True))
        yield record, Prediction(str(number), categories=scores) if rng.random() < 0.9 else None


@pytest.mark.parametrize("every", [False, True])
def test_average_precision_equals_pycocotools(every):
    pairs = list(crowded(1 + every))
    found, _ = values(f"recognition/{'all' if every else 'top1'}", pairs)
    ap, ap50 = coco_average_precision(pairs, every)
    assert found["ap"] == pytest.approx(ap, abs=1e-12)
    assert found["ap50"] == pytest.approx(ap50, abs=1e-12)


def coco_average_precision(pairs, every):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    names = ["cat", "cup", "dog", "tree"]
    truths, detections = [], []
    for record, prediction in pairs:
        left, top, right, bottom = record.targets[0].box
        image, box = int(record.image.file.split(".")[0]), [left, top, right - left, bottom - top]
        truths.append(
            {
                "id": len(truths) + 1,
                "image_id": image,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
                "category_id": names.index(record.targets[0].category),
            }
        )
        for name, score in (prediction.categories if prediction else {}).items():
            if every or name == best_category(prediction.categories):
                detections.append(
                    {"image_id": image, "bbox": box, "score": score, "category_id": names.index(name)}
                )
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": image} for image in range(12)],
        "annotations": truths,
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluator = COCOeval(coco, coco.loadRes(detections), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats[0], evaluator.stats[1]


def test_recognition_refuses_boxes_without_a_category():
    record = Record("a", ImageRef("a.jpg", 10, 10), targets=[Target(box=(0.0, 0.0, 5.0, 5.0))])
    with pytest.raises(ProtocolError, match="record 'a' has no category"):
        values("recognition/top1", [(record, None)])


def test_unanswered_boxes_stay_to_be_found():
    pairs = [(record, None) for record, _ in crowded(5, images=1)]
    for name in ("top1", "all"):
        found, evaluation = values(f"recognition/{name}", pairs)
        assert set(found.values()) == {0.0}
        assert not evaluation.invalid.any()
    silent = [(record, Prediction(record.id, categories={})) for record, _ in pairs]
    assert values("recognition/top1", silent)[1].invalid.all()


def test_ties_do_not_depend_on_the_order_of_keys():
    assert best_category({"dog": 0.5, "cat": 0.5, "cup": 0.1}) == "cat"
    assert best_category({}) is None


def test_interpolated_average_precision():
    recalls = np.linspace(0, 1, 101)
    assert interpolated(np.ones(2), np.zeros(2), 2, recalls) == pytest.approx(1.0)
    assert interpolated(np.zeros(0), np.zeros(0), 2, recalls) == 0.0
    assert math.isnan(interpolated(np.ones(1), np.zeros(1), 0, recalls))
