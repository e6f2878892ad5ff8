"""HiVG's released recipe apart from model and stages: pictures, loaders, evaluation, optimizer.

AdamW with one learning rate for all that is trained, a cosine per stage in steps of epochs, no warm-up of
the learning rate, no clipping, float32. Seven GPUs; batch sizes are per GPU, those of training stand in the
stages.
"""

from mmengine.config import read_base

with read_base():
    from .default_runtime import *

from mmengine.optim import CosineAnnealingLR
from torch.optim import AdamW

from refkit.data.collate import collate
from refkit.data.dataset import ReferringDataset
from refkit.data.samplers import EpochSampler
from refkit.data.transforms import (
    ColorJitter,
    Letterbox,
    Pad,
    RandomApply,
    RandomCrop,
    RandomResize,
    TruncateBoxes,
    UnlessPlaceWords,
)
from refkit.engine import (
    AutocastOptimWrapper,
    EvalLoop,
    FinalEvalLoop,
    ParamGroupConstructor,
    RECMetric,
)

train_pipeline = [
    dict(type=TruncateBoxes),
    dict(
        type=UnlessPlaceWords,
        published=True,
        transforms=[
            dict(
                type=RandomApply,
                p=0.5,
                transforms=[
                    dict(type=RandomResize, choices=[400, 500, 600], side="short"),
                    dict(type=RandomCrop, min_size=384, max_size=600, tries=20, published=True),
                ],
            )
        ],
    ),
    dict(type=RandomResize, choices=[224, 192, 160, 128, 96, 64, 32], side="long"),
    dict(type=ColorJitter, brightness=0.4, contrast=0.4, saturation=0.4, p=0.8),
    dict(type=Pad, size=224, mode="random"),
]
# Scores are computed from the boxes of the records, so evaluation has no boxes to truncate.
test_pipeline = [dict(type=Letterbox, size=224)]

train_dataloader = dict(
    batch_size=80,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    dataset=dict(type=ReferringDataset, pipeline=train_pipeline),
    sampler=dict(type=EpochSampler),
    collate_fn=dict(type=collate),
)
val_dataloader = dict(
    batch_size=60,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(type=ReferringDataset, pipeline=test_pipeline),
    collate_fn=dict(type=collate),
)
test_dataloader = dict(
    batch_size=60,
    num_workers=4,
    dataset=dict(type=ReferringDataset, pipeline=test_pipeline),
    collate_fn=dict(type=collate),
)
val_cfg = dict(type=EvalLoop)
test_cfg = dict(type=FinalEvalLoop)
val_evaluator = dict(type=RECMetric)
test_evaluator = val_evaluator
optim_wrapper = dict(
    type=AutocastOptimWrapper,
    precision="float32",
    accumulative_counts=1,
    optimizer=dict(type=AdamW, lr=2.5e-4, betas=[0.9, 0.999], eps=1e-8, weight_decay=1e-4, fused=True),
    constructor=ParamGroupConstructor,
)
# Every stage has one of its own, over its epochs.
param_scheduler = [dict(type=CosineAnnealingLR, by_epoch=True, begin=0, eta_min=0.0)]
default_hooks.update(checkpoint=dict(save_best="rec/acc50"))
