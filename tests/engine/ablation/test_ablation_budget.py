"""One budget for every row, in iterations or in seconds; how long that takes."""

from __future__ import annotations

import os

import pytest
from ablation_tables import TOY

from refkit.data.samplers import EpochSampler
from refkit.engine.ablation import TableError
from refkit.engine.ablation.budget import common_iterations, set_iterations, total_epochs
from refkit.engine.ablation.estimate import duration, expected_seconds, iterations_for
from refkit.engine.ablation.pool import deal_cores
from refkit.engine.ablation.run import Run
from refkit.engine.ablation.store import Pace
from refkit.engine.ablation.table import Row
from refkit.engine.config import load_config


def toy():
    return load_config(TOY)


@pytest.mark.parametrize(
    ("wanted", "epochs", "iterations"),
    [(480, [10, 10], 480), (5, [3, 3], 6), (1, [4, 6], 12), (19, [4, 6], 24)],
)
def test_iterations_that_all_rows_can_have(wanted, epochs, iterations):
    assert common_iterations(wanted, epochs) == iterations


@pytest.mark.parametrize("iterations", [3, 6, 300])
def test_a_config_gets_exactly_its_iterations(iterations):
    config = toy()
    set_iterations(config, iterations)
    loader = config.train_dataloader
    sampler = EpochSampler(range(11), samples=loader.sampler.samples)
    batches = len(sampler) / loader.batch_size
    assert batches * config.train_cfg.max_epochs == iterations


def test_stages_count_their_epochs_together():
    config = toy()
    config.train_cfg = dict(type="StagedTrainLoop", stages=[dict(epochs=4), dict(epochs=2, batch_size=2)])
    assert total_epochs(config) == 6
    set_iterations(config, 12)
    assert config.train_dataloader.sampler.samples == 2 * 2


def test_configs_that_cannot_follow_a_budget_are_refused():
    config = toy()
    with pytest.raises(ValueError, match="7 iterations cannot be shared equally by 3 epochs"):
        set_iterations(config, 7)
    config.param_scheduler = dict(type="LinearLR", by_epoch=False, begin=0, end=4)
    with pytest.raises(TableError, match="counts iterations and would not follow the budget"):
        set_iterations(config, 6)
    config = toy()
    config.train_cfg.stages = [dict(epochs=3, batch_size=8)]
    with pytest.raises(TableError, match="have the batch size of train_dataloader, 2"):
        set_iterations(config, 6)
    config.train_cfg.stages = [dict(epochs=3, param_scheduler=[dict(by_epoch=False)])]
    with pytest.raises(TableError, match="would not follow the budget"):
        set_iterations(config, 6)
    config = toy()
    config.train_dataloader.sampler = dict(type="DefaultSampler")
    with pytest.raises(TableError, match="sampler=dict"):
        set_iterations(config, 6)
    config.train_cfg = dict(type="IterBasedTrainLoop", max_iters=100)
    with pytest.raises(TableError, match="must state max_epochs or stages"):
        total_epochs(config)


def test_seconds_become_the_iterations_of_the_slowest_row():
    quick, slow = Pace("q", "m", 1, 0.1, 5.0), Pace("s", "m", 1, 0.2, 10.0)
    assert iterations_for(30, [quick, slow]) == pytest.approx(100)
    with pytest.raises(TableError, match="leaves no time to train: starting and evaluating takes up to 10 s"):
        iterations_for(9, [quick, slow])


def test_expected_duration_shares_the_places():
    row = Row("a", "a", str(TOY))
    runs = [Run(row, seed, 100) for seed in range(3)]
    paces = {"a": Pace("a", "m", 1, 0.1, 5.0)}
    assert expected_seconds(runs, paces, 1) == pytest.approx(45)
    assert expected_seconds(runs, paces, 2) == pytest.approx(22.5)
    assert expected_seconds(runs, paces, 8) == pytest.approx(15), "no run is split"
    unknown = Run(Row("b", "b", str(TOY)), 0, 100)
    assert expected_seconds([*runs, unknown], paces, 1) == pytest.approx(60), "as long as the others"
    assert expected_seconds([unknown], paces, 1) is None


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(12.4, "12 s"), (89, "89 s"), (91, "2 min"), (3600, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_durations_in_words(seconds, told):
    assert duration(seconds) == told


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores cannot be chosen here")
@pytest.mark.parametrize(
    ("cores", "jobs", "shares"),
    [({4, 1}, 2, [(1,), (4,)]), ({0, 1, 2, 3, 4}, 2, [(0, 1), (2, 3)]), ({7}, 1, [(7,)]), ({7}, 2, [(), ()])],
)
def test_cores_are_dealt_out_equally(monkeypatch, cores, jobs, shares):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: cores)
    assert deal_cores(jobs) == shares
