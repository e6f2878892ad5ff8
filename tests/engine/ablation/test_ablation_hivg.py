"""The shipped table of HiVG: every row builds, trains what its label says, and follows the same plan."""

from __future__ import annotations

import copy
import re

import pytest
import torch

from refkit.data.collate import collate
from refkit.engine.ablation import read_table
from refkit.engine.ablation.budget import common_iterations, total_epochs
from refkit.engine.ablation.run import Run
from refkit.registry import DATASETS, MODELS

TABLE = read_table("refshapes/ablation/hivg")
BLOCK = re.compile(r"backbone\.clip\.vision_model\.encoder\.layers\.(\d+)\..*lora_")
ALL = {0, 1, 2, 3}
NONE = [set()] * 4
# Row → vision blocks whose adapters are trained in each of the four stages.
ADAPTED = {
    "plain": NONE,
    "macb": NONE,
    "vanilla-lora": [set(), ALL, ALL, ALL],
    "hilora-published": [set(), {0, 1}, {0, 1, 2}, ALL],
    "hilora-paper": [set(), {0}, {0, 1, 2}, ALL],
    "both": [set(), {0, 1}, {0, 1, 2}, ALL],
    "both-no-clc": [set(), {0, 1}, {0, 1, 2}, ALL],
    "both-no-rtcc": [set(), {0, 1}, {0, 1, 2}, ALL],
}


def small(row):
    """The config of a row with few scenes and without the weights file."""
    config = Run(row, 0, TABLE.iterations).config()
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.dataset.update(scenes=1, keep=1)
    config.model.backbone.weights = None
    return config


def trained(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_rows_are_those_of_the_paper():
    assert [row.name for row in TABLE.rows] == list(ADAPTED)
    assert {row.start for row in TABLE.rows} == {"warm-up"}


def test_all_rows_have_the_same_plan():
    configs = [row.load() for row in TABLE.rows]
    assert common_iterations(TABLE.iterations, map(total_epochs, configs)) == TABLE.iterations
    plans = [
        [(stage.name, stage.epochs, stage.lr) for stage in config.train_cfg.stages] for config in configs
    ]
    assert all(plan == plans[0] for plan in plans)
    for part in ("train_dataloader", "val_dataloader", "optim_wrapper", "param_scheduler"):
        assert all(config[part] == configs[0][part] for config in configs), part


@pytest.mark.parametrize("row", TABLE.rows, ids=lambda row: row.name)
def test_a_row_trains_what_it_says(row):
    config = small(row)
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config.model))
    dataset = DATASETS.build(config.train_dataloader.dataset)
    batch = model.data_preprocessor(collate([dataset[0], dataset[1]]), training=True)
    for number, stage in enumerate(config.train_cfg.stages):
        model.enter_stage(stage.model)
        names = trained(model)
        blocks = {int(found[1]) for name in names if (found := BLOCK.match(name))}
        assert blocks == ADAPTED[row.name][number]
        assert not any(name.startswith("backbone.clip") and "lora_" not in name for name in names)
        bridged = any(name.startswith("backbone.bridges") for name in names)
        assert bridged == (row.name == "macb" or row.name.startswith("both"))
        losses = model(**batch, mode="loss")
        assert all(torch.isfinite(value) for value in losses.values())
        assert ("loss_contrastive" in losses) == (row.name != "both-no-clc")
        assert ("loss_rtcc_dice" in losses) == (row.name != "both-no-rtcc")


def test_rows_can_begin_with_the_weights_of_the_start():
    from refkit.zoo.weights import load_weights

    start = small(TABLE.starts["warm-up"].row)
    warm = MODELS.build(start.model)
    assert not any(name.startswith("backbone") for name in trained(warm)), "the towers are frozen"
    for row in TABLE.rows:
        config = small(row)
        model = MODELS.build(config.model)
        model.enter_stage(config.train_cfg.stages[0].model)
        load_weights(model, warm.state_dict(), config.load_allow_missing)
        assert model.encoder.region_token.equal(warm.encoder.region_token)
