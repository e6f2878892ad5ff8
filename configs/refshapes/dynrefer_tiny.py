"""The small twin of DynRefer on RefShapes: caption, tags, attributes, class. Half an hour on one CPU core.

Not a row of any paper. One object per sample and two views of it: the object itself and a larger crop, drawn
anew every time in training. Only the text encoder is frozen: the small CLIP has never seen crops, so its
tower learns on at a fifth of the rate, and there is no small language model to start from. In evaluation the
second view lies half-way between object and picture, see ``tools/view_prior.py``.

    refkit train configs/refshapes/dynrefer_tiny.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.default_runtime import *
    from .._base_.refshapes_dynrefer import *

from mmengine.optim import CosineAnnealingLR, LinearLR
from torch.optim import AdamW

from refkit.data.refshapes.dataset import RefShapesObjects
from refkit.data.samplers import EpochSampler
from refkit.engine import (
    AutocastOptimWrapper,
    EvalLoop,
    ExactTrainLoop,
    FinalEvalLoop,
    ParamGroupConstructor,
    ProtocolMetric,
    SceneCaptionMetric,
)

train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    dataset=dict(type=RefShapesObjects, scenes=12000, scene_seed=0, keep=12000, pipeline=train_pipeline),
    sampler=dict(type=EpochSampler, samples=32000),
    collate_fn=collate_fn,
)
val_dataloader = dict(
    batch_size=100,
    num_workers=1,
    persistent_workers=True,
    dataset=dict(type=RefShapesObjects, scenes=200, scene_seed=1, keep=200, pipeline=test_pipeline),
    collate_fn=collate_fn,
)
test_dataloader = dict(
    batch_size=100,
    num_workers=1,
    dataset=dict(type=RefShapesObjects, scenes=200, scene_seed=2, keep=200, pipeline=test_pipeline),
    collate_fn=collate_fn,
)
train_cfg = dict(type=ExactTrainLoop, max_epochs=6, val_interval=1)
val_cfg = dict(type=EvalLoop)
test_cfg = dict(type=FinalEvalLoop)
val_evaluator = [
    dict(type=ProtocolMetric, protocol=["attributes/box", "recognition/top1"]),
    dict(type=SceneCaptionMetric),
]
test_evaluator = val_evaluator
optim_wrapper = dict(
    type=AutocastOptimWrapper,
    precision="bfloat16",
    fused_attention=False,
    clip_grad=dict(max_norm=1.0),
    optimizer=dict(type=AdamW, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
    constructor=ParamGroupConstructor,
    paramwise_cfg=dict(decay_norms_and_biases=False, lr_multipliers={"backbone.tower": 0.2}),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, by_epoch=False, begin=0, end=100),
    dict(type=CosineAnnealingLR, by_epoch=False, begin=100, T_max=2900, end=3000, eta_min=1e-5),
]
default_hooks.update(checkpoint=dict(save_best="scene_caption/all"), pictures=dict(count=0))
