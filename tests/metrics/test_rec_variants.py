"""Every named variant of REC against its reference values, on synthetic and on published predictions."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from metric_fixtures import fixture, read_jsonl, rec_pairs, values

from refkit.data.records import ImageRef, Record, Target
from refkit.metrics.boxes import paired_pixel_iou
from refkit.metrics.breakdown import Groups, group_columns
from refkit.metrics.protocol import get_protocol
from refkit.metrics.rec import read_box_pairs
from refkit.metrics.rec_variants import VARIANTS, letterbox_iou, rounded_iou
from refkit.structures import Prediction

SAME = {
    "rec/unclipped": "iou-ge",
    "rec/strict-gt": "iou-gt",
    "rec/ref-l4": "iou-gt",
    "rec/mdetr-giou": "giou-ge",
    "rec/inclusive": "pixel-inclusive-ge",
    "rec/transvg": "integer-gt-letterbox-ge",
    "rec/1": "iou-ge-clipped",
}


@pytest.fixture(scope="module")
def reference():
    return fixture("rec_boxes")


@pytest.mark.parametrize(("protocol", "name"), SAME.items())
def test_scores_equal_the_reference(reference, protocol, name):
    expected = reference.expected[name]
    found, _ = values(protocol, rec_pairs(reference.samples))
    accuracies = {f"acc{100 * float(t):.0f}": value for t, value in expected["acc"].items()}
    wanted = {key: value for key, value in accuracies.items() if key in found}
    wanted |= {key: expected[key] for key in ("macc", "miou") if key in expected}
    assert "acc50" in wanted
    for key, value in wanted.items():
        assert found[key] == pytest.approx(value, abs=reference.tolerance), key


@pytest.mark.parametrize(
    ("protocol", "key"),
    [
        ("rec/unclipped", "iou"),
        ("rec/inclusive", "iou_pixel_inclusive"),
        ("rec/transvg", "iou_integer_gt_letterbox"),
        ("rec/mdetr-giou", "giou"),
    ],
)
def test_every_sample_equals_the_reference(reference, protocol, key):
    _, evaluation = values(protocol, rec_pairs(reference.samples))
    (overlap,) = evaluation.per_sample.values()
    wanted = [-1.0 if one[key] is None else one[key] for one in reference.per_sample]
    assert overlap == pytest.approx(wanted, abs=reference.tolerance)
    assert evaluation.invalid.tolist() == [not one["valid"] for one in reference.per_sample]


def test_centres_equal_the_reference(reference):
    found, _ = values("rec/unclipped", rec_pairs(reference.samples))
    expected = reference.expected["iou-ge"]["center_acc"]
    assert found["centre"] == pytest.approx(expected, abs=reference.tolerance)


def test_the_mean_over_categories_equals_the_reference(reference):
    found, _ = values("rec/ref-l4", rec_pairs(reference.samples))
    expected = reference.expected["iou-gt"]["category_mean"]
    assert found["acc50_per_category"] == pytest.approx(expected["acc"], abs=reference.tolerance)
    assert found["macc_per_category"] == pytest.approx(expected["macc"], abs=reference.tolerance)


def test_the_parts_equal_the_reference(reference):
    """By length and category (IoU >= t) and by size (IoU > t), through the grouping that scoring uses."""

    def length(sample):
        words = len(sample["expression"].split())
        return "1-5" if words <= 5 else "6-7" if words <= 7 else "8-10" if words <= 10 else "11+"

    def size(sample):
        side = np.prod(sample["gt_box_xywh"][2:]) ** 0.5
        return "small" if side < 128 else "medium" if side <= 256 else "large"

    cases = [
        ("rec/unclipped", "iou-ge", "by_length", length),
        ("rec/unclipped", "iou-ge", "by_category", lambda sample: sample["category"]),
        ("rec/strict-gt", "iou-gt", "by_size", size),
    ]
    for protocol, name, part, label in cases:
        groups = Groups()
        for sample in reference.samples:
            groups.add(label(sample))
        _, evaluation = values(protocol, rec_pairs(reference.samples))
        expected = reference.expected[name][part]
        found = {group: (n, cells) for group, n, cells in group_columns(evaluation.columns, groups)}
        assert found.keys() == expected.keys()
        for group, (n, cells) in found.items():
            assert n == expected[group]["n"]
            assert cells["acc50"].value == pytest.approx(expected[group]["acc"], abs=reference.tolerance)
            if "macc" in expected[group]:
                assert cells["macc"].value == pytest.approx(expected[group]["macc"], abs=reference.tolerance)


def one_pair(box, target, size=(100, 80)):
    record = Record("a", ImageRef("a.jpg", *size), "it", [Target(box=target)])
    return [(record, Prediction("a", np.array([box])))]


def test_rounding_comes_before_clipping():
    boxes = read_box_pairs(one_pair((0.4, 0.6, 100.6, 10.4), (0.0, 1.0, 100.0, 10.0)))
    assert rounded_iou(boxes).tolist() == [1.0]


def test_the_padding_of_the_square_is_open_to_the_prediction():
    """A box that leaves the picture upwards keeps its area inside the padding: lower IoU than when clipped."""
    pairs = one_pair((0.0, -20.0, 100.0, 80.0), (0.0, 0.0, 100.0, 80.0))
    assert letterbox_iou(read_box_pairs(pairs))[0] < 0.9
    assert values("rec/1", pairs)[0]["miou"] == 1.0


def test_whole_pixels():
    assert paired_pixel_iou([(0, 0, 10, 10)], [(0, 0, 10, 10)]).tolist() == [1.0]
    # one pixel in common has equal first and last coordinates: not an intersection by the strict rule
    assert paired_pixel_iou([(0, 0, 10, 10)], [(9, 9, 20, 20)]).tolist() == [0.0]
    assert paired_pixel_iou([(0, 0, 10, 10)], [(8, 8, 18, 18)])[0] == pytest.approx(4 / 196)
    assert paired_pixel_iou([(np.nan,) * 4], [(0, 0, 10, 10)]).tolist() == [0.0]


def test_an_unanswered_expression_is_wrong_under_every_variant():
    record = one_pair((0, 0, 1, 1), (0.0, 0.0, 10.0, 10.0))[0][0]
    for variant in VARIANTS:
        found, evaluation = values(variant.id, [(record, None)])
        assert found["acc50"] == 0.0, variant.id
        assert not evaluation.invalid.any()
        (overlap,) = evaluation.per_sample.values()
        assert np.isfinite(overlap).all()


@pytest.mark.shared
def test_published_predictions_of_a_real_model(shared):
    """All 28 files of VLM-R1 reproduce the accuracy that their authors logged, under the authors' own rule.

    `refcoco_val_baseline` was logged as 0.0: its authors rescaled boxes that were already in pixels, so the
    boxes of that file lie elsewhere. Scored as they stand they give 0.0 too, which is what is reproduced here;
    `test_the_baseline_that_was_logged_as_zero` scores the boxes of the raw text.
    """
    expected = json.loads((shared / "fixtures/eval/rec_real.json").read_text())
    index = json.loads((shared / "data/predictions/index.json").read_text())
    files = {name: part for name, part in expected["files"].items() if "vlm_r1" in name}
    assert len(files) == 28
    published = {one["file"]: one for one in index if "published_accuracy" in one}
    protocols = {
        "rec/unclipped": "iou-ge",
        "rec/strict-gt": "iou-gt",
        "rec/mdetr-giou": "giou-ge",
        "rec/vlm-r1": "pixel-inclusive-gt",
    }
    for name, part in files.items():
        pairs = list(published_pairs(shared / "data" / name))
        for protocol, key in protocols.items():
            found, _ = values(protocol, pairs)
            assert found["acc50"] == pytest.approx(part["expected"][key]["acc"], abs=1e-9), (name, protocol)
        assert found["acc50"] == pytest.approx(part["logged_verdicts"], abs=1e-12), name
        logged = published[name]["published_accuracy"]
        assert round(100 * found["acc50"], 2) == pytest.approx(logged), name


@pytest.mark.shared
def test_the_baseline_that_was_logged_as_zero(shared):
    """The boxes in the raw text of the mis-logged file are right: 89.4 instead of 0.0."""
    path = shared / "data/predictions/vlm_r1_qwen2.5vl_3b/refcoco_val_baseline.jsonl.gz"

    def raw_box(row):
        return json.loads(re.search(r'"bbox_2d": (\[.*?\])', row["raw_output"])[1])

    assert values("rec/vlm-r1", published_pairs(path))[0]["acc50"] == 0.0
    assert values("rec/vlm-r1", published_pairs(path, raw_box))[0]["acc50"] == 0.894


def published_pairs(path, boxes=lambda row: row["pred_bbox_xyxy"]):
    for number, row in enumerate(read_jsonl(path)):
        record = Record(
            str(number),
            ImageRef(row["image"], 10_000, 10_000),
            targets=[Target(box=tuple(row["gt_bbox_xyxy"]))],
        )
        box = boxes(row)
        yield record, Prediction(str(number), boxes=np.array([box] if box else [], float).reshape(-1, 4))


def test_texts_say_what_differs():
    for variant in VARIANTS:
        text = get_protocol(variant.id).text
        assert text.startswith(f"{variant.id}: ")
        assert "misses and stay in the denominator" in text
