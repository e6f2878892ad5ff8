"""Paired tests: against the published numbers, closed forms, and loops that say the same."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from refkit.leaderboard.statistics import (
    ImageBootstrap,
    PairedBootstrap,
    cluster_standard_error,
    holm,
    mcnemar_exact,
    wilson_interval,
)
from refkit.metrics.protocol import Column, Corpus
from refkit.metrics.rec import score_rec

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "eval" / "statistics.json"
PAIRS = (
    ("refcoco", "r1_500", "sft_500"),
    ("refcocoplus", "r1_500", "sft_500"),
    ("refcocog", "r1_600", "sft_500"),
)


def test_the_statistics_of_the_fixture():
    fixture = json.loads(GOLDEN.read_text())
    expected, near = fixture["expected"], {"abs": fixture["tolerance"]}
    images = np.unique(fixture["image"], return_inverse=True)[1]
    a, b = np.array(fixture["hit_a"]), np.array(fixture["hit_b"])
    found = PairedBootstrap(images, draws=4000).ratio(Column.mean(a), Column.mean(b))
    assert (found.a, found.b) == pytest.approx((expected["acc_a"], expected["acc_b"]), **near)
    assert found.difference == pytest.approx(expected["difference"], **near)
    test = mcnemar_exact(a, b)
    assert (test.only_a, test.only_b) == (expected["only_a"], expected["only_b"])
    assert test.p == pytest.approx(expected["mcnemar_exact_p"], **near)
    assert wilson_interval(int(a.sum()), len(a)) == pytest.approx(expected["wilson_95_a"], **near)
    assert cluster_standard_error(a, images) == pytest.approx(expected["cluster_se_a"], **near)
    error = cluster_standard_error(a - b, images)
    assert error == pytest.approx(expected["cluster_se_difference"], **near)
    low, high = found.interval
    assert (high - low) / 3.92 == pytest.approx(error, rel=0.06)
    assert found.p == pytest.approx(0.02, abs=0.01)  # 2 * (1 - Phi(0.0575 / 0.0247))


@pytest.mark.shared
@pytest.mark.parametrize(("records", "a", "b"), PAIRS)
def test_published_predictions_of_two_methods(shared, records, a, b):
    fixture = json.loads((shared / "fixtures" / "eval" / "rec_real.json").read_text())
    folder = "predictions/vlm_r1_qwen2.5vl_3b"
    names = [f"{folder}/{records}_val_{step}.jsonl.gz" for step in (a, b)]
    expected = next(pair for pair in fixture["pairs"] if [pair["a"], pair["b"]] == names)
    texts = [gzip.decompress((shared / "data" / name).read_bytes()) for name in names]
    rows = [[json.loads(line) for line in text.splitlines()] for text in texts]
    hits = [published_hits(part) for part in rows]
    images = np.unique([row["image_id"] for row in rows[0]], return_inverse=True)[1]
    test = mcnemar_exact(*hits)
    assert (len(hits[0]), int(images.max()) + 1) == (expected["n"], expected["images"])
    assert (test.only_a, test.only_b) == (expected["only_a"], expected["only_b"])
    near = {"abs": fixture["tolerance"]}
    assert test.p == pytest.approx(expected["mcnemar_exact_p"], **near)
    difference = hits[0].astype(float) - hits[1]
    assert difference.mean() == pytest.approx(expected["difference"], **near)
    assert cluster_standard_error(difference, images) == pytest.approx(
        expected["cluster_se_difference"], **near
    )


def published_hits(rows):
    boxes = [row["pred_bbox_xyxy"] or [np.nan] * 4 for row in rows]
    truth = np.array([row["gt_bbox_xyxy"] for row in rows], float)
    return score_rec(boxes, truth, np.full((len(rows), 2), 1e6)).per_sample_iou >= 0.5


def test_holm_against_its_definition():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_equal_methods_do_not_differ():
    values = np.random.default_rng(0).random(100)
    found = PairedBootstrap(np.arange(100) // 3).ratio(Column.mean(values), Column.mean(values))
    assert (found.difference, found.interval, found.p) == (0.0, (0.0, 0.0), 1.0)
    assert mcnemar_exact(values > 0.5, values > 0.5).p == 1.0


def test_hits_that_are_no_pairs_are_refused():
    with pytest.raises(ValueError, match="3 hits of one method, 2 of the other"):
        mcnemar_exact([1, 0, 1], [1, 0])


def test_a_ratio_of_sums_is_resampled_as_a_loop_would():
    """Overall IoU: draw images, sum intersections and unions of both methods, divide, subtract."""
    rng = np.random.default_rng(1)
    images = np.sort(rng.integers(0, 30, 200))
    images = np.unique(images, return_inverse=True)[1]
    union = rng.uniform(10, 1000, (2, 200))
    inside = union * rng.random((2, 200))
    found = PairedBootstrap(images, draws=3000, seed=5).ratio(*map(Column, inside, union))
    draws = []
    for _ in range(3000):
        chosen = np.concatenate([np.flatnonzero(images == one) for one in rng.integers(0, 30, 30)])
        draws.append(
            inside[0, chosen].sum() / union[0, chosen].sum()
            - inside[1, chosen].sum() / union[1, chosen].sum()
        )
    low, high = np.quantile(draws, (0.025, 0.975))
    assert found.interval == pytest.approx((low, high), abs=0.15 * (high - low))
    assert found.difference == pytest.approx(
        inside[0].sum() / union[0].sum() - inside[1].sum() / union[1].sum()
    )


def mean_as_corpus(values):
    return Corpus(len(values), lambda counts: float((counts * values).sum() / counts.sum()))


def test_a_corpus_metric_and_the_ratio_that_it_equals_agree():
    rng = np.random.default_rng(2)
    images, values = np.arange(60) // 3, rng.random((2, 60))
    bootstrap = PairedBootstrap(images, draws=200)
    as_corpus = bootstrap.corpus(*map(mean_as_corpus, values))
    as_ratio = bootstrap.ratio(*map(Column.mean, values))
    assert as_corpus.interval == pytest.approx(as_ratio.interval, abs=2e-6)
    assert as_corpus.p == pytest.approx(as_ratio.p, abs=0.02)
    single = ImageBootstrap(images, draws=200)
    single.add(mean_as_corpus(values[0]))
    single.add(Column.mean(values[0]))
    corpus, ratio = single.intervals()
    assert corpus == pytest.approx(ratio, abs=2e-6)


def test_one_image_has_no_interval():
    column = Column.mean(np.array([1.0, 0.0]))
    bootstrap = PairedBootstrap(np.zeros(2, int))
    assert bootstrap.ratio(column, column).interval is None
    assert bootstrap.corpus(mean_as_corpus(np.ones(2)), mean_as_corpus(np.ones(2))).p is None
    single = ImageBootstrap(np.zeros(2, int))
    single.add(mean_as_corpus(np.ones(2)))
    assert single.intervals() == [None]


def test_groups_are_resampled_like_masked_columns():
    rng = np.random.default_rng(3)
    images, codes = np.arange(90) // 3, rng.integers(-1, 3, 90)
    column = Column(rng.random(90), rng.uniform(1, 2, 90))
    grouped, masked = ImageBootstrap(images, 300), ImageBootstrap(images, 300)
    assert grouped.add_groups(column, codes, 3) == 0
    for group in range(3):
        masked.add(column.within(codes == group))
    assert np.allclose(grouped.intervals(), masked.intervals(), atol=2e-6)


def test_single_precision_is_used_only_where_it_is_exact():
    """Counts and fractions in one bootstrap get the intervals that each gets alone."""
    rng = np.random.default_rng(4)
    images, hits, iou = np.arange(500) // 2, rng.random(500) < 0.7, rng.random(500)
    big = Column(np.full(500, 1e7), np.full(500, 2e7))
    both = ImageBootstrap(images)
    for column in (Column.mean(hits), Column.mean(iou), big):
        both.add(column)
    alone = []
    for column in (Column.mean(hits), Column.mean(iou), big):
        single = ImageBootstrap(images)
        single.add(column)
        alone += single.intervals()
    assert both.intervals() == alone
    assert alone[2] == (0.5, 0.5)


def test_a_function_of_sums_is_resampled_like_any_corpus_metric():
    """BLEU and METEOR in groups, by one product of matrices, as if computed again for every draw and group."""
    rng = np.random.default_rng(5)
    images, codes = np.arange(120) // 4, rng.integers(-1, 2, 120)
    sums = rng.integers(0, 5, (120, 3)).astype(float)

    def combine(total):
        return np.sqrt(total[..., 0] * total[..., 1]) / (1 + total[..., 2])

    quick, slow = ImageBootstrap(images, 200), ImageBootstrap(images, 200)
    metric = Corpus.of_sums(sums, combine)
    again = Corpus(120, metric.weighted)
    assert quick.add(metric) == slow.add(again) == 0
    assert quick.add_groups(metric, codes, 2) == 1
    assert slow.add_groups(again, codes, 2) == 1
    assert np.allclose(quick.intervals(), slow.intervals(), atol=2e-6)
    assert metric.value == pytest.approx(float(combine(sums.sum(axis=0))))
