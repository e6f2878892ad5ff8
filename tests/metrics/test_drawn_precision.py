"""Many draws at once give what draw after draw gives, over everything and within groups."""

import numpy as np
import pytest

from refkit.leaderboard.breakdowns.cells import pending_cells
from refkit.leaderboard.breakdowns.partitions import Partition
from refkit.leaderboard.statistics import ImageBootstrap
from refkit.metrics.attributes import mean_average_precision as mean_of_attributes
from refkit.metrics.average_precision import RankedLabels
from refkit.metrics.breakdown import mean_over_groups
from refkit.metrics.densecap import ANY_WORDS, LANGUAGE, PYTHON_RECALLS, Matches, single_recalls
from refkit.metrics.densecap import mean_average_precision as mean_of_pairs
from refkit.metrics.protocol import Column, Corpus
from refkit.metrics.recognition import THRESHOLDS, Detections
from refkit.metrics.recognition import mean_average_precision as mean_of_categories

N = 60


def attributes(rng):
    """Labels of some samples, scores with ties, and one attribute without positives."""
    ranked = []
    for share in (0.0, 0.2, 0.9):
        samples = np.flatnonzero(rng.random(N) < 0.8)
        ranked.append(
            RankedLabels.of(rng.integers(0, 9, len(samples)) / 8, rng.random(len(samples)) < share, samples)
        )
    return mean_of_attributes(ranked, N)


def categories(rng):
    """Several detections per sample, and a category that is never detected."""
    found = [Detections(np.zeros(0, np.int64), np.zeros((len(THRESHOLDS), 0), bool), np.array([3, 4]))]
    for _ in range(4):
        samples = rng.integers(0, N, 90)
        hardest = rng.integers(0, len(THRESHOLDS) + 1, 90)
        right = np.arange(len(THRESHOLDS))[:, None] < hardest
        found.append(Detections(samples, right, np.unique(samples[right[0]])))
    return mean_of_categories(found, N, slice(None))


def pairs(rng, words=LANGUAGE, recalls=PYTHON_RECALLS):
    """Pictures with detections and regions, some of them without regions."""
    regions = rng.integers(0, 4, N).astype(float)
    d = 300
    matches = Matches(
        np.sort(rng.integers(0, N, d)),
        rng.integers(0, 50, d) / 49,
        rng.random(d),
        rng.random(d) < 0.3,
        rng.random(d) * 0.4,
        regions,
    )
    return mean_of_pairs(matches, N, words, recalls)


METRICS = {
    "attributes": attributes,
    "categories": categories,
    "dense captions": pairs,
    "regions": lambda rng: pairs(rng, (ANY_WORDS,)),
    "single precision": lambda rng: pairs(rng, recalls=single_recalls()),
    "mean over groups": lambda rng: mean_over_groups(Column.mean(rng.random(N)), rng.integers(0, 7, N)),
    "sums": lambda rng: Corpus.of_sums(rng.random((N, 2)), lambda sums: sums[..., 0] / sums[..., 1]),
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("seed", range(6))
def test_many_draws_are_the_draws_one_by_one(name, seed):
    rng = np.random.default_rng(seed)
    metric = METRICS[name](rng)
    members = np.flatnonzero(rng.random(N) < (1.0, 0.5, 0.1)[seed % 3])
    counts = rng.poisson(1.0, (len(members), 25)).astype(float)
    counts[:, 0] = 1.0
    everything = np.zeros((25, N))
    everything[:, members] = counts.T
    found = metric.resampler(members)(counts)
    assert found == pytest.approx([metric.weighted(times) for times in everything], abs=1e-12, nan_ok=True)
    assert np.isfinite(found).any()
    plain = Corpus(N, metric.weighted).resampler(members)(counts)
    assert found == pytest.approx(plain, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", ["attributes", "categories", "dense captions", "mean over groups"])
def test_nobody_drawn_is_no_number(name):
    metric = METRICS[name](np.random.default_rng(0))
    assert np.isnan(metric.resampler(np.arange(5))(np.zeros((5, 3)))).all()
    assert np.isnan(metric.resampler(np.zeros(0, np.int64))(np.zeros((0, 3)))).all()


@pytest.mark.parametrize("name", ["attributes", "categories", "dense captions"])
def test_intervals_in_groups_are_those_of_a_plain_bootstrap(name):
    rng = np.random.default_rng(3)
    metric, images = METRICS[name](rng), np.arange(N) // 3
    partition = Partition(
        ["few", "many", "one picture"], np.where(images < 5, 0, np.where(images < 19, 1, 2))
    )
    bootstrap = ImageBootstrap(images, draws=150, seed=8)
    pending = pending_cells({"map": metric}, partition, bootstrap)
    cells = pending.finish(bootstrap.intervals())
    drawing = np.random.default_rng(8)
    draws = [np.bincount(drawing.integers(0, 20, 20), minlength=20)[images] for _ in range(150)]
    for group, label in enumerate(partition.labels[:2]):
        inside = partition.codes == group
        values = [metric.weighted(times * inside.astype(float)) for times in draws]
        expected = np.nanquantile(values, (0.025, 0.975))
        assert cells[label].metrics["map"].interval == pytest.approx(expected, abs=1e-6)
        assert cells[label].metrics["map"].value == metric.weighted(inside.astype(float))
    assert cells["one picture"].metrics["map"].interval is None
