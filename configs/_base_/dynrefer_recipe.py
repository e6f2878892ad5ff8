"""DynRefer's released recipe apart from model and data: views, loaders, optimizer, schedule.

Eight GPUs with 64 regions each. AdamW, no weight decay on norms, biases and other vectors, a cosine in steps
of epochs that reaches zero where the last epoch would end. The released settings ask for a warm-up that their
code never makes; there is none here. bfloat16 throughout, where the released code runs tower, alignment and
Q-Former in float16 with a scaled loss; evaluation runs the tower in float16 and all else in float32.
"""

from mmengine.config import read_base

with read_base():
    from .default_runtime import *

from mmengine.optim import CosineAnnealingLR
from torch.optim import AdamW

from refkit.data.collate import collate
from refkit.data.dataset import ReferringDataset
from refkit.data.samplers import EpochSampler
from refkit.data.transforms import RegionCaption, RegionViews
from refkit.engine import (
    AutocastOptimWrapper,
    EvalLoop,
    ExactTrainLoop,
    FinalEvalLoop,
    ParamGroupConstructor,
)

train_pipeline = [
    dict(type=RegionCaption, full_drop=0.5, drop=0.5),
    dict(type=RegionViews, views=3, side=224, selection="random"),
]
test_pipeline = [dict(type=RegionViews, views=3, side=224, selection="image_prior")]
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    dataset=dict(type=ReferringDataset, pipeline=train_pipeline),
    sampler=dict(type=EpochSampler),
    collate_fn=dict(type=collate),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    dataset=dict(type=ReferringDataset, pipeline=test_pipeline),
    collate_fn=dict(type=collate, share=True),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=8,
    dataset=dict(type=ReferringDataset, pipeline=test_pipeline),
    collate_fn=dict(type=collate, share=True),
)
train_cfg = dict(type=ExactTrainLoop, max_epochs=5, val_interval=1)
val_cfg = dict(type=EvalLoop, precision="float32")
test_cfg = dict(type=FinalEvalLoop, precision="float32")
optim_wrapper = dict(
    type=AutocastOptimWrapper,
    precision="bfloat16",
    accumulative_counts=1,
    optimizer=dict(type=AdamW, lr=1e-4, betas=[0.9, 0.999], weight_decay=0.05, fused=True),
    constructor=ParamGroupConstructor,
    paramwise_cfg=dict(decay_norms_and_biases=False),
)
param_scheduler = [dict(type=CosineAnnealingLR, by_epoch=True, begin=0, end=5, T_max=5, eta_min=0.0)]
randomness = dict(seed=42, deterministic=False)
default_hooks.update(pictures=dict(count=0))  # samples of regions have no picture
