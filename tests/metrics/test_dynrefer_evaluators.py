"""The evaluators against the numbers of DynRefer's own evaluation: captions, dense captions, OVAD, COCO."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
from metric_fixtures import values, xyxy
from test_captions import needs_tools

from refkit.data.records import ImageRef, Record, Target
from refkit.metrics import meteor
from refkit.metrics.boxes import paired_iou
from refkit.metrics.captions import score_captions
from refkit.metrics.densecap import LANGUAGE, OVERLAPS, Matches, look_at, merge_regions, single_recalls
from refkit.metrics.grec import all_pairs
from refkit.metrics.ngrams import bleu
from refkit.metrics.ptb import ptb_tokens
from refkit.structures import Prediction

GOLDEN = Path(__file__).resolve().parents[1] / "golden/dynrefer"
EXACT, METEOR = 1e-6, 1e-4


def pack(name):
    return json.loads(gzip.decompress((GOLDEN / f"{name}_eval.json.gz").read_bytes()))


def check_captions(reference):
    keys = list(reference["candidates"])
    items = {one["image_id"]: one for one in reference["expected"]["per_item"].values()}
    expected = [items[int(key)] for key in keys]
    scores = score_captions(
        [reference["candidates"][key] for key in keys], [reference["references"][key] for key in keys]
    )
    overall = reference["expected"]["overall"]
    corpus = bleu(scores.bleu_sums.sum(axis=0))
    assert corpus == pytest.approx([overall[f"Bleu_{order}"] for order in range(1, 5)], abs=EXACT)
    assert 100 * scores.cider.mean() == pytest.approx(overall["CIDEr"], abs=100 * EXACT)
    assert scores.rouge_l.mean() == pytest.approx(overall["ROUGE_L"], abs=EXACT)
    assert scores.cider == pytest.approx([one["CIDEr"] for one in expected], abs=EXACT)
    assert scores.rouge_l == pytest.approx([one["ROUGE_L"] for one in expected], abs=EXACT)
    return scores, expected, overall


def test_captions_without_java(without_java):
    check_captions(pack("caption"))


@needs_tools
@pytest.mark.slow
def test_captions_with_java():
    scores, expected, overall = check_captions(pack("caption"))
    assert 100 * meteor.meteor_score(scores.meteor_counts.sum(axis=0)) == pytest.approx(
        overall["METEOR"], abs=100 * METEOR
    )
    single = meteor.meteor_score(scores.meteor_counts)
    assert single == pytest.approx([one["METEOR"] for one in expected], abs=METEOR)


def test_tokens_of_captions():
    reference = pack("caption")
    for key, tokens in reference["tokenized"]["candidates"].items():
        assert [" ".join(ptb_tokens(reference["candidates"][key]))] == tokens
        several = reference["references"][key]
        assert [" ".join(ptb_tokens(text)) for text in several] == reference["tokenized"]["references"][key]


def bounds(annotation):
    """The box of an annotation: that of its polygon, as the released code reads it."""
    corners = np.array(annotation["segmentation"][0], float).reshape(-1, 2)
    return (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())


def densecap_pairs(reference):
    """One record per picture; a detection is ranked by its detector's score, otherwise by its caption's."""
    for one in reference["ground_truth"]["images"]:
        truth, found = (
            [part for part in reference[side]["annotations"] if part["image_id"] == one["id"]]
            for side in ("ground_truth", "predictions")
        )
        record = Record(
            str(one["id"]),
            ImageRef(one["file_name"], one["width"], one["height"]),
            targets=[Target(box=bounds(part)) for part in truth],
            references=[part["caption"] for part in truth],
        )
        extra = [part["extra_info"] for part in found]
        scores = [part.get("grit_result", part["pred_result"])["score"] for part in extra]
        yield (
            record,
            Prediction(
                record.id,
                np.array([bounds(part) for part in found]).reshape(-1, 4),
                np.array(scores),
                captions=[part["pred_result"]["caption"] for part in extra],
            ),
        )


def densecap_matches(reference):
    """Our matches with the language scores of the reference."""
    rows, parts, regions = iter(reference["expected"]["records"]), [], []
    for number, (record, answer) in enumerate(densecap_pairs(reference)):
        boxes, texts = merge_regions(
            np.array([target.box for target in record.targets]), record.references, paired_iou
        )
        regions.append(float(len(boxes)) if len(answer.boxes) else 0.0)
        order = np.argsort(-answer.scores, kind="stable")
        overlaps = all_pairs(answer.boxes[order], boxes)
        for place, region, claim in zip(
            order.tolist(), *map(np.ndarray.tolist, look_at(overlaps, False)), strict=True
        ):
            row = next(rows)
            assert (row["candidate"], bool(row["ok"])) == (answer.captions[place], claim)
            assert row["references"] == (texts[region] if region >= 0 else [])
            overlap = paired_iou(answer.boxes[[place]], boxes[[region]])[0] if region >= 0 else 0.0
            assert row["iou"] == pytest.approx(overlap, abs=EXACT)
            parts.append((number, answer.scores[place], overlap, claim, row["meteor"]))
    assert sum(regions) == reference["expected"]["npos"]
    pictures, scores, overlaps, claims, words = map(np.array, zip(*parts, strict=True))
    return Matches(pictures, scores, overlaps, claims, words, np.array(regions))


def test_dense_captions_equal_the_released_code(without_java):
    reference = pack("densecap")
    expected, matches = reference["expected"], densecap_matches(reference)
    once, recalls = np.ones(len(matches.regions)), single_recalls()
    for overlap in OVERLAPS:
        for words in LANGUAGE:
            found = matches.average_precisions(once, [(overlap, words)], recalls)[0]
            wanted = expected["ap_breakdown"][f"iou_{overlap}_meteor_{words:g}"]
            assert found == pytest.approx(wanted, abs=EXACT), (overlap, words)
        found = matches.average_precisions(once, [(overlap, -1.0)], recalls)[0]
        assert found == pytest.approx(expected["det_breakdown"][f"iou_{overlap}"], abs=EXACT)
    found, _ = values("densecap/python-float32", densecap_pairs(reference))
    assert found["detection_map"] == pytest.approx(expected["detmap"], abs=EXACT)


@needs_tools
@pytest.mark.slow
def test_dense_captions_with_java():
    reference = pack("densecap")
    found, evaluation = values("densecap/python-float32", densecap_pairs(reference))
    assert found["map"] == pytest.approx(reference["expected"]["map"], abs=EXACT)
    assert evaluation.tools == {"meteor": meteor.VERSION}
    exact, _ = values("densecap/python", densecap_pairs(reference))
    assert exact["map"] == pytest.approx(found["map"], abs=1e-3)


def test_points_in_single_precision():
    """As ``torch.arange(0, 1, 0.01)`` gives them; 19 are not the nearest numbers."""
    nearest = (np.arange(100) / 100).astype(np.float32)
    apart = np.flatnonzero(single_recalls() != nearest)
    below = [9, 15, 18, 23, 27, 30, 33, 36, 49, 54, 66, 67, 91]
    assert apart.tolist() == sorted([*below, 42, 45, 76, 77, 78, 84])
    assert (single_recalls()[below] < nearest[below]).all()
    assert (np.abs(single_recalls() - nearest) <= np.spacing(nearest)).all()


def ovad_pairs(reference):
    names = [one["name"] for one in reference["attributes"]]
    groups = {one["name"]: one["freq_set"] for one in reference["attributes"]}
    for row, (labels, scores) in enumerate(zip(reference["labels"], reference["predictions"], strict=True)):
        known = {name: label for name, label in zip(names, labels, strict=True) if label >= 0}
        record = Record(
            str(row), ImageRef(f"{row}.jpg", 100, 100), labels=known, facts={"attribute_groups": groups}
        )
        yield record, scores and Prediction(str(row), attributes=dict(zip(names, scores, strict=True)))


def test_attributes_equal_the_released_code():
    reference = pack("ovad")
    table = reference["expected"]["table"]
    found, evaluation = values("attributes/box", ovad_pairs(reference))
    assert 100 * found["map"] == pytest.approx(table["PCt0.4_ap/all"], abs=100 * EXACT)
    for group in ("head", "medium", "tail"):
        assert 100 * found[f"map_{group}"] == pytest.approx(table[f"PCt0.4_ap/{group}"], abs=100 * EXACT)
    single = evaluation.details["average precision"]
    names = [one["name"] for one in reference["attributes"]]
    for name, wanted in zip(names, reference["expected"]["per_attribute_ap"], strict=True):
        found_one = single.get(name, math.nan)
        assert math.isnan(found_one) if wanted is None else found_one == pytest.approx(wanted, abs=EXACT), (
            name
        )


def coco_pairs(reference, crowd=False):
    """One record per box, with the scores of all categories; boxes of crowds are left out unless asked for."""
    names = {one["id"]: one["name"] for one in reference["ground_truth"]["categories"]}
    truth, answers = (reference[side]["annotations"] for side in ("ground_truth", "predictions"))
    for box, answer in zip(truth, answers, strict=True):
        assert box["id"] == answer["id"]
        if box["iscrowd"] and not crowd:
            continue
        record = Record(
            str(box["id"]),
            ImageRef(f"{box['image_id']}.jpg", 640, 480),
            targets=[Target(box=xyxy(box["bbox"]), category=names[box["category_id"]])],
        )
        scores = answer["extra_info"].get("pred_result", {}).get("cls")
        yield (
            record,
            scores and Prediction(record.id, categories=dict(zip(names.values(), scores, strict=True))),
        )


def test_categories_equal_the_released_code():
    reference = pack("coco")
    accuracy, _ = values("recognition/top1", coco_pairs(reference, crowd=True))
    assert accuracy["top1"] == pytest.approx(reference["expected"]["accuracy"], abs=EXACT)
    found, _ = values("recognition/top1", coco_pairs(reference))
    assert found["ap50"] == pytest.approx(reference["expected"]["coco_stats"][1], abs=EXACT)
    assert found["ap"] == pytest.approx(reference["expected"]["map"], abs=EXACT)
