# ruff: noqa: F403, F405
from mmengine.config import read_base

with read_base():
    from ...configs._base_.default_runtime import *

from engine_toy import KillHook, SquareFinder, SquaresDataset
from mmengine.hooks import EMAHook
from mmengine.optim import CosineAnnealingLR, LinearLR
from torch.optim import AdamW

from refkit.data.collate import collate
from refkit.data.samplers import EpochSampler
from refkit.engine.autocast import AutocastOptimWrapper
from refkit.engine.loops import EvalLoop, ExactTrainLoop, FinalEvalLoop
from refkit.engine.metrics import RECMetric
from refkit.engine.param_groups import ParamGroupConstructor

model = dict(type=SquareFinder, width=4)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    dataset=dict(type=SquaresDataset, count=11),
    sampler=dict(type=EpochSampler),
    collate_fn=dict(type=collate),
)
val_dataloader = dict(
    batch_size=2,
    num_workers=0,
    dataset=dict(type=SquaresDataset, count=7, first=100),
    collate_fn=dict(type=collate),
)
test_dataloader = val_dataloader
train_cfg = dict(type=ExactTrainLoop, max_epochs=3)
val_cfg = dict(type=EvalLoop)
test_cfg = dict(type=FinalEvalLoop)
val_evaluator = dict(type=RECMetric, by="kind")
test_evaluator = dict(type=RECMetric, by="kind")
optim_wrapper = dict(
    type=AutocastOptimWrapper,
    optimizer=dict(type=AdamW, lr=0.05, weight_decay=0.01, fused=True),
    constructor=ParamGroupConstructor,
    paramwise_cfg=dict(lr_multipliers={"backbone": 0.5}, decay_norms_and_biases=False),
    accumulative_counts=1,
    precision="float32",
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.1, by_epoch=False, begin=0, end=4),
    dict(type=CosineAnnealingLR, by_epoch=True, begin=1, end=3, T_max=2),
]
default_hooks.update(checkpoint=dict(interval_iters=4, save_best="rec/miou"))
custom_hooks = [dict(type=EMAHook, momentum=0.2, strict_load=True), dict(type=KillHook)]
