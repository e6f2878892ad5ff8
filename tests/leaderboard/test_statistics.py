"""The image bootstrap: against closed forms, and what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from refkit.leaderboard.statistics import ImageBootstrap
from refkit.metrics.protocol import Column


def interval(column, clusters, **options):
    bootstrap = ImageBootstrap(np.asarray(clusters), **options)
    bootstrap.add(column)
    return bootstrap.intervals()[0]


def test_independent_samples_have_the_binomial_interval():
    rng = np.random.default_rng(0)
    n, p = 4000, 0.9
    hits = rng.random(n) < p
    low, high = interval(Column.mean(hits), np.arange(n), draws=4000)
    half = 1.96 * np.sqrt(hits.mean() * (1 - hits.mean()) / n)
    assert (high - low) / 2 == pytest.approx(half, rel=0.06)
    assert (low + high) / 2 == pytest.approx(hits.mean(), abs=half / 10)


def test_shared_difficulty_widens_the_interval():
    """50 images with 20 equal answers each carry the information of 50 answers, not of 1,000."""
    rng = np.random.default_rng(1)
    per_image = rng.random(50) < 0.7
    hits, images = np.repeat(per_image, 20), np.repeat(np.arange(50), 20)
    clustered = interval(Column.mean(hits), images)
    naive = interval(Column.mean(hits), np.arange(1000))
    assert (clustered[1] - clustered[0]) / (naive[1] - naive[0]) == pytest.approx(np.sqrt(20), rel=0.1)


def test_the_cluster_standard_error_of_the_specification():
    """§2.11: sqrt(sum over images of (sum of residuals)^2) / n."""
    rng = np.random.default_rng(2)
    images = rng.integers(0, 300, 2000)
    values = (rng.random(2000) < 0.3 + 0.5 * rng.random(300)[images]).astype(float)
    images = np.unique(images, return_inverse=True)[1]
    residuals = np.bincount(images, weights=values - values.mean())
    error = np.sqrt((residuals**2).sum()) / len(values)
    low, high = interval(Column.mean(values), images, draws=4000)
    assert (high - low) / (2 * 1.96) == pytest.approx(error, rel=0.06)


def test_chunks_do_not_change_the_result(monkeypatch):
    values = np.random.default_rng(3).random(500)
    whole = interval(Column.mean(values), np.arange(500) // 5)
    monkeypatch.setattr("refkit.leaderboard.statistics.bootstrap.CHUNK_ELEMENTS", 1000)
    assert interval(Column.mean(values), np.arange(500) // 5) == whole


def test_a_ratio_is_resampled_as_a_ratio():
    """Where every image has the same ratio, no resample can have another."""
    below = np.random.default_rng(4).uniform(1, 100, 200)
    assert interval(Column(below / 4, below), np.arange(200)) == (0.25, 0.25)


def test_seed_and_draws_matter_and_nothing_else():
    values = np.random.default_rng(5).random(200)
    first = interval(Column.mean(values), np.arange(200), seed=1)
    assert interval(Column.mean(values), np.arange(200), seed=1) == first
    assert interval(Column.mean(values), np.arange(200), seed=2) != first


def test_metrics_share_their_draws():
    values = np.random.default_rng(6).random(200)
    bootstrap = ImageBootstrap(np.arange(200))
    places = [bootstrap.add(Column.mean(values)), bootstrap.add(Column.mean(1 - values))]
    assert places == [0, 1]
    (low, high), (other_low, other_high) = bootstrap.intervals()
    assert (low, high) == pytest.approx((1 - other_high, 1 - other_low), abs=2e-6)


def test_without_a_second_image_there_is_no_interval():
    values = np.array([1.0, 0.0, 1.0])
    assert interval(Column.mean(values), [0, 0, 0]) is None
    mask = np.array([1.0, 1.0, 0.0])
    assert interval(Column(values * mask, mask), [0, 0, 1]) is None
    assert interval(Column.mean(values), [0, 1, 2], draws=0) is None
    assert interval(Column.mean(np.zeros(0)), np.zeros(0, int)) is None


def test_a_rare_group_is_left_out_of_draws_that_miss_it():
    """Two of 40 images: many draws hold neither, and must not count as 0 or NaN."""
    mask = np.zeros(40)
    mask[:2] = 1
    assert interval(Column(mask, mask), np.arange(40)) == (1.0, 1.0)
