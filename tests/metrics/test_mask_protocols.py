"""RES, GRES and reasoning segmentation against their reference values; what happens to odd masks."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_fixtures import fixture, gres_pairs, mask_record, reason_pairs, res_pairs, values

from refkit.metrics.masks import intersection, overlap, unite
from refkit.metrics.protocol import AnswerError, ProtocolError, get_protocol
from refkit.metrics.reason import overlap_without
from refkit.metrics.res import VARIANTS, padded, score_res, stretched
from refkit.rle import encode
from refkit.structures import Prediction

SAME = {
    "res/1": "merged-zero",
    "res/single-cover": "single-cover-zero",
    "res/cris": "merged-strict-eps",
    "res/lisa": "merged-one",
}
SAMPLE = {"id": "a", "image": {"id": "i", "width": 6, "height": 4}, "expression": "it"}
ALL_RES = [variant.id for variant in VARIANTS]


def block(top, bottom, left, right, shape=(4, 6)):
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return encode(mask)


@pytest.mark.parametrize(("protocol", "name"), SAME.items())
def test_res_equals_the_reference(protocol, name):
    reference = fixture("res_masks")
    expected = reference.expected[name]
    found, evaluation = values(protocol, res_pairs(reference.samples))
    assert found["miou"] == pytest.approx(expected["miou"], abs=reference.tolerance)
    if "oiou" in expected:
        assert found["oiou"] == pytest.approx(expected["oiou"], abs=reference.tolerance)
    keep = np.array([one["id"] not in expected.get("precision_excludes", ()) for one in reference.samples])
    for threshold, value in expected.get("precision", {}).items():
        column = evaluation.columns[f"p{100 * float(threshold):.0f}"].within(keep)
        assert column.value == pytest.approx(value, abs=reference.tolerance), threshold


@pytest.mark.parametrize(
    ("protocol", "iou"),
    [("res/1", "iou"), ("res/single-cover", "iou_single_cover"), ("res/lisa", "iou_empty_is_one")],
)
def test_every_res_sample_equals_the_reference(protocol, iou):
    reference = fixture("res_masks")
    _, evaluation = values(protocol, res_pairs(reference.samples))
    rows = evaluation.per_sample
    assert rows["iou"] == pytest.approx([one[iou] for one in reference.per_sample], abs=reference.tolerance)
    if protocol == "res/1":
        assert rows["intersection"].tolist() == [one["intersection"] for one in reference.per_sample]
        assert rows["union"].tolist() == [one["union"] for one in reference.per_sample]


def test_reasoning_equals_the_reference():
    reference = fixture("reason_masks")
    found, evaluation = values("reason/1", reason_pairs(reference.samples))
    expected = reference.expected["empty-is-one"]
    assert found["giou"] == pytest.approx(expected["giou"], abs=reference.tolerance)
    assert found["ciou"] == pytest.approx(expected["ciou"], abs=reference.tolerance)
    for row, one in enumerate(reference.per_sample):
        assert evaluation.per_sample["iou"][row] == pytest.approx(one["iou"], abs=reference.tolerance)
        assert evaluation.per_sample["intersection"][row] == one["intersection"]
        assert evaluation.per_sample["union"][row] == one["union"]


@pytest.mark.parametrize("name", ["flag", "empty-mask"])
def test_gres_equals_the_reference(name):
    reference = fixture("gres_masks")
    expected = reference.expected[name]
    found, _ = values(f"gres/{name}", gres_pairs(reference.samples))
    for key in ("giou", "ciou", "t_acc", "n_acc"):
        assert found[key] == pytest.approx(expected[key], abs=reference.tolerance), key
    for threshold, value in expected.get("precision", {}).items():
        assert found[f"p{100 * float(threshold):.0f}"] == pytest.approx(value, abs=reference.tolerance)


def test_gres_with_and_without_the_expressions_that_mean_nothing():
    reference = fixture("gres_masks")
    found, evaluation = values("gres/flag", gres_pairs(reference.samples))
    targeted = np.array([not one["no_target"] for one in reference.samples])
    iou = evaluation.per_sample["iou"]
    assert found["giou_target"] == pytest.approx(iou[targeted].mean())
    assert found["giou"] == pytest.approx(iou.mean())


def test_unanswered_is_wrong_and_no_rejection():
    nothing_meant, meant = mask_record(SAMPLE, []), mask_record(SAMPLE, [block(0, 2, 0, 2)])
    for answer in (None, Prediction("a"), Prediction("a", mask=block(0, 2, 0, 2), status="failed")):
        for protocol in ("gres/flag", "gres/empty-mask"):
            found, evaluation = values(protocol, [(nothing_meant, answer), (meant, answer)])
            assert (found["giou"], found["n_acc"], found["t_acc"], found["ciou"]) == (0.0, 0.0, 0.0, 0.0)
            assert evaluation.invalid.tolist() == [answer is not None] * 2
        for protocol in (*ALL_RES, "reason/1"):
            found, evaluation = values(protocol, [(nothing_meant, answer), (meant, answer)])
            assert set(found.values()) == {0.0}, protocol
            assert evaluation.invalid.tolist() == [answer is not None] * 2


def test_the_flag_alone_is_an_answer_where_the_flag_counts():
    pairs = [(mask_record(SAMPLE, []), Prediction("a", no_target=True))]
    assert values("gres/flag", pairs)[0]["n_acc"] == 1.0
    found, evaluation = values("gres/empty-mask", pairs)
    assert found["n_acc"] == 0.0
    assert evaluation.invalid.tolist() == [True]


@pytest.mark.parametrize("protocol", [*ALL_RES, "reason/1", "gres/flag", "gres/empty-mask"])
def test_masks_of_another_image_are_refused(protocol):
    record = mask_record(SAMPLE, [block(0, 2, 0, 2)])
    other = Prediction("a", mask=block(0, 2, 0, 2, shape=(8, 12)))
    with pytest.raises(AnswerError, match=r"prediction of 'a': mask.size: \[8, 12\] is not the image's"):
        values(protocol, [(record, other)])
    short = Prediction("a", mask={"size": [4, 6], "counts": "04"})
    with pytest.raises(AnswerError, match=r"mask.counts: the runs cover 4 pixels, the image has 24"):
        values(protocol, [(record, short)])
    bare = mask_record(SAMPLE, [None])
    with pytest.raises(ProtocolError, match=r"record 'a' has a target without a mask"):
        values(protocol, [(bare, None)])


def test_a_broken_ignore_area_is_refused():
    record = mask_record(SAMPLE, [block(0, 2, 0, 2)], ignore=block(0, 1, 0, 1, shape=(8, 12)))
    with pytest.raises(ProtocolError, match="the ignore area of 'a'"):
        values("reason/1", [(record, None)])


masks = st.lists(st.booleans(), min_size=24, max_size=24).map(lambda bits: np.array(bits).reshape(4, 6))


@settings(max_examples=60)
@given(p=masks, g=masks, ignored=masks)
def test_areas_from_run_lengths_equal_those_of_pixels(p, g, ignored):
    a, b, c = encode(p), encode(g), encode(ignored)
    assert overlap(a, b) == ((p & g).sum(), (p | g).sum())
    kept = ~ignored
    assert overlap_without(a, b, c) == ((p & g & kept).sum(), ((p | g) & kept).sum())
    assert overlap(unite([a, b, c]), None) == (0, (p | g | ignored).sum())
    assert overlap(intersection(a, b, c), a) == ((p & g & ignored).sum(), p.sum())


def test_canvases():
    mask = np.zeros((3, 6), bool)
    mask[:, :2] = True
    square = stretched(mask, 6)
    assert square.shape == (6, 6)
    assert square.sum() == 12
    framed = padded(mask, 12)
    assert framed.shape == (12, 12)
    assert framed[:3].sum() == framed[9:].sum() == 0
    assert framed[3:9, :4].all()
    assert framed.sum() == 24
    assert np.array_equal(padded(np.ones((5, 5), bool), 5), np.ones((5, 5), bool))


def test_canvases_give_nearly_the_same_score_and_the_same_when_perfect():
    pairs = list(res_pairs(fixture("res_masks").samples))
    for protocol in ("res/lavt", "res/padded-canvas"):
        found, _ = values(protocol, pairs)
        near, _ = values("res/single-cover" if protocol == "res/lavt" else "res/1", pairs)
        assert found["miou"] == pytest.approx(near["miou"], abs=0.02)
        # overall IoU may move far: on one canvas, large images no longer weigh more
        assert found["oiou"] != pytest.approx(near["oiou"], abs=0.02)
        perfect = [(record, Prediction("a", mask=record.targets[0].mask)) for record, _ in pairs[:1]]
        assert values(protocol, perfect)[0]["oiou"] == 1.0


def test_single_cover_without_polygons_says_so():
    pairs = [(mask_record(SAMPLE, [block(0, 2, 0, 2)]), Prediction("a", mask=block(0, 2, 0, 2)))]
    _, evaluation = values("res/single-cover", pairs)
    assert "no record keeps its polygons" in evaluation.warnings[0]
    assert not values("res/1", pairs)[1].warnings


def test_areas_that_do_not_belong_together():
    with pytest.raises(ProtocolError, match="do not belong together"):
        score_res(np.ones(2), np.ones(3))
    with pytest.raises(ProtocolError, match="do not belong together"):
        score_res(np.full(2, 2.0), np.ones(2))
    assert math.isnan(get_protocol("res/1").evaluate(iter(())).columns["oiou"].value)


def test_masks_are_streamed():
    """Ten times as many real-sized masks need no more memory, but for a few numbers each."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:480, :640]
    blobs = [
        encode(((rows - y) ** 2 / 4 + (columns - x) ** 2) < r**2)
        for x, y, r in rng.integers((50, 50, 20), (590, 430, 120), (20, 3))
    ]
    sample = {"id": "a", "image": {"id": "i", "width": 640, "height": 480}, "expression": "it"}

    def peak(count):
        pairs = (
            (mask_record(sample, [dict(blobs[i % 20])]), Prediction("a", mask=dict(blobs[(i * 7 + 1) % 20])))
            for i in range(count)
        )
        tracemalloc.start()
        values("res/1", pairs)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(5)
    assert peak(300) - peak(30) < 270 * 1000


def test_an_answer_on_the_canvas_counts_what_it_says_in_the_padding():
    wide = {"id": "a", "image": {"id": "i", "width": 768, "height": 384}, "expression": "it"}
    truth = np.zeros((384, 768), bool)
    truth[:, :384] = True
    pairs = [mask_record(wide, [encode(truth)])]
    on_image = values("res/padded-canvas", [(pairs[0], Prediction("a", mask=encode(truth)))])[1].per_sample
    assert on_image["iou"].tolist() == [1.0]
    everything_left = np.zeros((384, 384), bool)
    everything_left[:, :192] = True  # 192 rows of picture, 192 of padding
    answer = Prediction("a", mask=encode(everything_left))
    on_canvas = values("res/padded-canvas", [(pairs[0], answer)])[1].per_sample
    assert on_canvas["iou"].tolist() == [0.5]
    for protocol in ("res/1", "res/lavt"):
        with pytest.raises(AnswerError, match=r"\[384, 384\] is not the image's"):
            values(protocol, [(pairs[0], answer)])
    with pytest.raises(AnswerError, match="masks are those of the original image"):
        torn = {"size": [384, 384], "counts": "0"}
        values("res/padded-canvas", [(pairs[0], Prediction("a", mask=torn))])
