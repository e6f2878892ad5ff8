"""``rec/1`` against its reference values, on synthetic and on published predictions."""

from __future__ import annotations

import gzip
import hashlib
import json
import math

import numpy as np
import pytest

from refkit.data.records import ImageRef, Record, Target
from refkit.metrics.boxes import paired_giou, paired_iou
from refkit.metrics.protocol import ProtocolError, get_protocol
from refkit.metrics.rec import REC1, evaluate, score_rec, target_box, top_box
from refkit.structures import Prediction

SQUARE = (0.0, 0.0, 10.0, 10.0)


def record(identity="a", targets=1, box=SQUARE):
    return Record(identity, ImageRef("a.jpg", 100, 80), "the square", [Target(box=box)] * targets)


@pytest.fixture(scope="module")
def reference(repository):
    return json.loads((repository / "tests/golden/rec_boxes.json").read_text())


def arrays(reference):
    samples = reference["samples"]
    gt = np.array([sample["gt_xywh"] for sample in samples])
    gt[:, 2:] += gt[:, :2]
    pred = np.array([sample["pred"] or [np.nan] * 4 for sample in samples], float)
    return pred, gt, np.array([sample["size"] for sample in samples])


def test_scores_equal_the_reference(reference):
    expected, tolerance = reference["expected"], reference["tolerance"]
    result = score_rec(*arrays(reference))
    assert result.acc50 == pytest.approx(expected["iou-ge-clipped"]["acc"]["0.5"], abs=tolerance)
    assert result.miou == pytest.approx(expected["iou-ge-clipped"]["miou"], abs=tolerance)
    assert result.per_sample_iou == pytest.approx(
        [sample["clipped"] for sample in reference["samples"]], abs=tolerance
    )
    assert result.invalid == pytest.approx(expected["iou-ge"]["invalid"] / len(reference["samples"]))


def test_every_threshold_equals_the_reference_without_clipping(reference):
    pred, gt, _ = arrays(reference)
    expected, tolerance = reference["expected"]["iou-ge"], reference["tolerance"]
    # the reference without clipping: move everything far inside a canvas that nothing leaves
    result = score_rec(pred + 1000, gt + 1000, np.full((len(gt), 2), 5000))
    assert result.acc50 == pytest.approx(expected["acc"]["0.5"], abs=tolerance)
    assert result.acc75 == pytest.approx(expected["acc"]["0.75"], abs=tolerance)
    assert result.acc90 == pytest.approx(expected["acc"]["0.9"], abs=tolerance)
    assert result.macc == pytest.approx(expected["macc"], abs=tolerance)
    assert result.miou == pytest.approx(expected["miou"], abs=tolerance)


def test_giou_accuracy_equals_the_reference(reference):
    pred, gt, _ = arrays(reference)
    expected = reference["expected"]["giou-ge"]["acc"]["0.5"]
    assert (paired_giou(pred, gt) >= 0.5).mean() == pytest.approx(expected, abs=reference["tolerance"])


def test_an_iou_of_exactly_one_half_is_a_hit():
    half = (0.0, 0.0, 10.0, 5.0)
    assert score_rec([half], [SQUARE], [[100, 80]]).acc50 == 1.0
    below = (0.0, 0.0, 10.0, np.nextafter(5.0, 0.0))
    assert score_rec([below], [SQUARE], [[100, 80]]).acc50 == 0.0


def test_the_prediction_is_clipped_and_the_annotation_is_not():
    outside = [(-50.0, 0.0, 10.0, 10.0)]
    assert score_rec(outside, [SQUARE], [[100, 80]]).per_sample_iou[0] == 1.0
    assert score_rec([SQUARE], outside, [[100, 80]]).per_sample_iou[0] == pytest.approx(1 / 6)


def test_invalid_boxes_stay_in_the_denominator():
    boxes = [SQUARE, (10, 0, 0, 10), (0, 0, math.inf, 10), (math.nan,) * 4]
    result = score_rec(boxes, [SQUARE] * 4, [[100, 80]] * 4)
    assert (result.acc50, result.invalid, result.miou) == (0.25, 0.75, 0.25)


def test_inputs_that_do_not_belong_together_are_refused():
    with pytest.raises(ProtocolError, match="2 predicted boxes, 1 annotated ones, 1 image sizes"):
        score_rec([SQUARE] * 2, [SQUARE], [[10, 10]])
    with pytest.raises(ProtocolError, match="annotated box 1 is not a box"):
        score_rec([SQUARE] * 2, [SQUARE, (10, 0, 0, 10)], [[10, 10]] * 2)


def test_the_box_that_counts():
    two = np.array([SQUARE, (1.0, 1.0, 2.0, 2.0)])
    assert top_box(Prediction("a", two)) == SQUARE
    assert top_box(Prediction("a", two, np.array([0.1, 0.9]))) == (1.0, 1.0, 2.0, 2.0)
    assert top_box(Prediction("a", two, np.array([0.5, 0.5]))) == SQUARE
    for nothing in (None, Prediction("a"), Prediction("a", np.zeros((0, 4)))):
        assert all(math.isnan(value) for value in top_box(nothing))


def test_records_that_rec_cannot_score_are_refused():
    assert target_box(record()) == SQUARE
    for broken, reason in ((record(targets=0), "has 0 targets"), (record(targets=2), "has 2 targets")):
        with pytest.raises(ProtocolError, match=f"'a' {reason}"):
            target_box(broken)
    with pytest.raises(ProtocolError, match="'a' has no box"):
        target_box(record(box=None))


def test_missing_is_not_invalid():
    pairs = [
        (record("a"), None),
        (record("b"), Prediction("b", np.zeros((0, 4)))),
        (record("c"), Prediction("c")),
    ]
    evaluation = evaluate(iter(pairs))
    assert evaluation.invalid.tolist() == [False, True, True]
    assert evaluation.columns["acc50"].value == 0.0


def test_nothing_to_score_is_not_a_number():
    evaluation = evaluate(iter(()))
    assert math.isnan(evaluation.columns["acc50"].value)


def test_the_protocol_is_frozen():
    """Whoever changes the text changes the meaning of published numbers: that needs ``rec/2``."""
    words = " ".join(REC1.split())
    assert hashlib.sha256(words.encode()).hexdigest()[:16] == "2de0941e5f76d348"
    assert get_protocol("rec/1").text == REC1


@pytest.mark.shared
def test_published_predictions_of_a_real_model(shared):
    """28 files of VLM-R1: their logged accuracies from the same IoU, and ``rec/1`` with the true image sizes."""
    expected = json.loads((shared / "fixtures/eval/rec_real.json").read_text())
    files = {name: part for name, part in expected["files"].items() if "vlm_r1" in name}
    assert len(files) == 28
    sizes = image_sizes(shared)
    for name, part in files.items():
        rows = read_jsonl(shared / "data" / name)
        gt = np.array([row["gt_bbox_xyxy"] for row in rows], float)
        pred = np.array([row["pred_bbox_xyxy"] or [np.nan] * 4 for row in rows], float)
        want = part["expected"]["iou-ge"]
        iou = paired_iou(pred, gt)
        assert iou.mean() == pytest.approx(want["miou"], abs=expected["tolerance"]), name
        assert (iou >= 0.5).mean() == pytest.approx(want["acc"], abs=expected["tolerance"]), name
        canvas = [sizes[row["image"]] for row in rows]
        result = score_rec(pred, gt, canvas)
        assert round(result.invalid * len(rows)) == part["invalid"], name
        # rec/1 clips boxes that leave the image, which these figures did not: up to four more hits per file
        hits = [clipped_iou_in_plain_python(*row) >= 0.5 for row in zip(pred, gt, canvas, strict=True)]
        assert result.acc50 == sum(hits) / len(rows), name
        assert result.acc50 >= want["acc"], name


def clipped_iou_in_plain_python(pred, gt, size):
    (px1, py1, px2, py2), (gx1, gy1, gx2, gy2), (width, height) = pred.tolist(), gt.tolist(), size
    px1, px2 = (min(max(x, 0.0), width) for x in (px1, px2))
    py1, py2 = (min(max(y, 0.0), height) for y in (py1, py2))
    intersection = max(0.0, min(px2, gx2) - max(px1, gx1)) * max(0.0, min(py2, gy2) - max(py1, gy1))
    union = (px2 - px1) * (py2 - py1) + (gx2 - gx1) * (gy2 - gy1) - intersection
    return intersection / union


def image_sizes(shared):
    """Width and height by image file, from the evaluation annotations of all three sets."""
    return {
        row["image"]: (row["width"], row["height"])
        for path in sorted((shared / "data/refcoco_full_eval").glob("refcoco*_*.jsonl.gz"))
        for row in read_jsonl(path)
    }


def read_jsonl(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
