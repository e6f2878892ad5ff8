"""Dense captioning in both dialects: matching and average precision against the reference values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from metric_fixtures import fixture, values
from test_captions import needs_tools

from refkit.data.records import ImageRef, Record, Target
from refkit.metrics.boxes import paired_iou
from refkit.metrics.densecap import (
    ANY_WORDS,
    DIALECTS,
    LANGUAGE,
    LUA_RECALLS,
    OVERLAPS,
    PYTHON_RECALLS,
    Collected,
    Matches,
    look_at,
    merge_regions,
    plus_one_iou,
    threshold_pairs,
)
from refkit.metrics.grec import all_pairs
from refkit.metrics.protocol import ProtocolError
from refkit.structures import Prediction


def densecap_pairs(images):
    for one in images:
        truth, found = one["ground_truth"], one["predictions"]
        record = Record(
            one["id"],
            ImageRef(f"{one['id']}.jpg", 720, 720),
            targets=[Target(box=tuple(region["box_xyxy"])) for region in truth],
            references=[region["caption"] for region in truth],
        )
        boxes = np.array([region["box_xyxy"] for region in found]).reshape(-1, 4)
        scores = np.array([region["score"] for region in found])
        yield record, Prediction(one["id"], boxes, scores, captions=[region["caption"] for region in found])


def matched(reference):
    """The matches of the fixture with the language scores that it gives for them."""
    pictures, scores, overlaps, claims, regions = [], [], [], [], []
    rows = iter(reference.records)
    for number, (record, answer) in enumerate(densecap_pairs(reference.images)):
        truth = np.array([target.box for target in record.targets])
        boxes, texts = merge_regions(truth, record.references, paired_iou)
        regions.append(float(len(boxes)))
        order = np.argsort(-answer.scores, kind="stable")
        found = all_pairs(answer.boxes[order], boxes)
        best, claimed = look_at(found, last_box=False)
        for row, region in enumerate(best.tolist()):
            expected = next(rows)
            assert expected["candidate"] == answer.captions[order[row]]
            assert expected["references"] == (texts[region] if region >= 0 else [])
            assert expected["iou"] == pytest.approx(found[row].max(), abs=reference.tolerance)
            assert expected["first_claim"] == claimed[row]
        pictures += [number] * len(order)
        scores += answer.scores[order].tolist()
        overlaps += found.max(axis=1, initial=0.0).tolist()
        claims += claimed.tolist()
    words = np.array([one["meteor"] for one in reference.records])
    assert sum(regions) == reference.merged_ground_truth
    return Matches(
        np.array(pictures), np.array(scores), np.array(overlaps), np.array(claims), words, np.array(regions)
    )


def test_average_precisions_equal_the_reference():
    reference = fixture("densecap")
    matches, expected = matched(reference), reference.expected["mean"]
    once = np.ones(len(matches.regions))
    for overlap in OVERLAPS:
        for words in LANGUAGE:
            found = matches.average_precisions(once, [(overlap, words)], PYTHON_RECALLS)[0]
            wanted = expected["ap"][f"iou_{overlap}_meteor_{words:g}"]
            assert found == pytest.approx(wanted, abs=reference.tolerance)
        found = matches.average_precisions(once, [(overlap, -1.0)], PYTHON_RECALLS)[0]
        assert found == pytest.approx(expected["detection_ap"][f"iou_{overlap}"], abs=reference.tolerance)


def test_detection_needs_no_java(without_java):
    reference = fixture("densecap")
    found, evaluation = values("densecap/python", densecap_pairs(reference.images))
    assert found["detection_map"] == pytest.approx(
        reference.expected["mean"]["detection_map"], abs=reference.tolerance
    )
    assert math.isnan(found["map"])
    assert "only the detection mAP is reported" in evaluation.warnings[0]


@needs_tools
@pytest.mark.slow
def test_the_protocol_equals_the_reference_with_java():
    reference = fixture("densecap")
    expected = reference.expected["mean"]
    found, evaluation = values("densecap/python", densecap_pairs(reference.images))
    assert found["map"] == pytest.approx(expected["map"], abs=reference.tolerance)
    assert found["detection_map"] == pytest.approx(expected["detection_map"], abs=reference.tolerance)
    single = evaluation.details["average precision"]
    assert len(single) == len(expected["ap"]) == 30
    lua, _ = values("densecap/lua", densecap_pairs(reference.images))
    assert 0 < lua["map"] < 1


def test_words_are_compared_only_where_they_can_matter():
    """Second claims and boxes far from every region are never right, so METEOR is not asked about them."""
    reference = fixture("densecap")
    whole = matched(reference)
    (dialect,) = (one for one in DIALECTS if one.id == "densecap/python")
    collected = Collected()
    for record, found in densecap_pairs(reference.images):
        collected.add(record, found, dialect)
    asked = whole.claims & (whole.overlaps >= 0.3)
    assert 0 < len(collected.candidates) == asked.sum() < len(asked)
    told = [one for one, needed in zip(reference.records, asked, strict=True) if needed]
    assert collected.references == [one["references"] for one in told]
    some = collected.matches(np.array([one["meteor"] for one in told]))
    pairs, counts = threshold_pairs((ANY_WORDS, *LANGUAGE)), np.ones(len(reference.images))
    assert some.average_precisions(counts, pairs, PYTHON_RECALLS) == whole.average_precisions(
        counts, pairs, PYTHON_RECALLS
    )


def picture(identity, regions):
    targets = [Target(box=box) for box in regions]
    return Record(identity, ImageRef("a.jpg", 100, 100), targets=targets, references=["a cup"] * len(targets))


A, B, FAR = (0.0, 0.0, 10.0, 10.0), (40.0, 40.0, 60.0, 60.0), (80.0, 80.0, 90.0, 90.0)


def answer(identity, *boxes):
    return Prediction(identity, np.array(boxes).reshape(-1, 4), captions=["a cup"] * len(boxes))


def test_a_detection_of_nothing_claims_the_last_region_in_lua_only(without_java):
    pairs = [(picture("p", [A, B]), answer("p", FAR, A, B))]
    python, lua = (values(f"densecap/{name}", pairs) for name in ("python", "lua"))
    assert python[1].per_sample["claims"].tolist() == [2]
    assert lua[1].per_sample["claims"].tolist() == [2]
    assert python[0]["detection_map"] == pytest.approx(2 / 3)
    # the last region was claimed by the far detection, so the right one finds it taken
    assert lua[0]["detection_map"] == pytest.approx(0.51 * 0.5, abs=0.01)


def test_pictures_answered_with_nothing(without_java):
    empty = [(picture("p", [A]), answer("p", A)), (picture("q", [B]), answer("q"))]
    assert values("densecap/python", empty)[0]["detection_map"] == pytest.approx(1.0)
    assert values("densecap/lua", empty)[0]["detection_map"] == pytest.approx(0.5, abs=0.011)
    missing = [empty[0], (picture("q", [B]), None)]
    for name in ("python", "lua"):
        found, evaluation = values(f"densecap/{name}", missing)
        assert found["detection_map"] == pytest.approx(0.5, abs=0.011)
        assert not evaluation.invalid.any()
    unusable = Prediction("q", np.array([B]))
    assert values("densecap/lua", [empty[0], (picture("q", [B]), unusable)])[1].invalid.tolist() == [
        False,
        True,
    ]


def test_recall_points():
    assert len(LUA_RECALLS) == len(PYTHON_RECALLS) == 100
    assert np.abs(LUA_RECALLS - PYTHON_RECALLS).max() < 1e-12
    assert LUA_RECALLS[-1] + 0.01 > 1.0


def test_merging():
    boxes = np.array([A, (0.0, 0.0, 10.0, 9.0), (0.0, 0.0, 10.0, 7.5), B])
    merged, texts = merge_regions(boxes, ["a", "b", "c", "d"], paired_iou)
    assert texts == [["a", "b", "c"], ["d"]]
    assert merged[0].tolist() == pytest.approx([0.0, 0.0, 10.0, 26.5 / 3])
    assert merge_regions(np.zeros((0, 4)), [], paired_iou)[1] == []
    assert plus_one_iou(np.array([A]), np.array([(10.0, 0.0, 20.0, 10.0)]))[0] == pytest.approx(
        11 / (2 * 121 - 11)
    )


def test_regions_and_captions_belong_together():
    broken = picture("p", [A, B])
    broken.references = ["a cup"]
    with pytest.raises(ProtocolError, match="record 'p' has 1 references for 2 targets"):
        values("densecap/python", [(broken, None)])
