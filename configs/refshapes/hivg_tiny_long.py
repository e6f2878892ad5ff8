"""The small twin of HiVG on RefShapes, trained longer: 716,800 samples, 95 minutes on one CPU core.

Not a row of any paper. Starts from the small CLIP of ``clip_pretrain.py``, as HiVG starts from CLIP, and
trains all of it. Two additions make a small budget enough: the region-text constraint (HiVG's own, section
3.4), and an encoder that starts from sine positions and from where CLIP's patches already point (ours, see
`GroundingEncoder`).

    refkit train configs/refshapes/hivg_tiny_long.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.default_runtime import *
    from .._base_.refshapes_twin import *

from mmengine.optim import CosineAnnealingLR, LinearLR
from torch.optim import AdamW

from refkit.backbones import GroundingEncoder
from refkit.data.refshapes.dataset import RefShapesDataset
from refkit.data.samplers import EpochSampler
from refkit.engine import (
    AutocastOptimWrapper,
    EvalLoop,
    ExactTrainLoop,
    FinalEvalLoop,
    ParamGroupConstructor,
    RECMetric,
)
from refkit.heads import BoxHead, RegionTextHead
from refkit.models import HiVG

backbone.update(
    visual_levels=[1, 2, 3, 4], similarity=True, weights="model_zoo/refshapes/clip_tiny.safetensors"
)
model = dict(
    type=HiVG,
    data_preprocessor=preprocessor,
    backbone=backbone,
    encoder=dict(
        type=GroundingEncoder, width=128, layers=3, heads=4, dropout=0.0, sine=True, similarity=True
    ),
    heads=dict(
        box=dict(type=BoxHead),
        region_text=dict(type=RegionTextHead, hidden=256, decided_at="centre"),
    ),
)
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    dataset=dict(type=RefShapesDataset, scenes=20480, scene_seed=0, keep=20480, pipeline=pipeline),
    sampler=dict(type=EpochSampler),
    collate_fn=collate_fn,
)
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    dataset=dict(type=RefShapesDataset, scenes=200, scene_seed=1, pipeline=pipeline),
    collate_fn=collate_fn,
)
test_dataloader = val_dataloader
train_cfg = dict(type=ExactTrainLoop, max_epochs=7, val_interval=1)
val_cfg = dict(type=EvalLoop)
test_cfg = dict(type=FinalEvalLoop)
val_evaluator = dict(type=RECMetric, by="kind")
test_evaluator = val_evaluator
optim_wrapper = dict(
    type=AutocastOptimWrapper,
    precision="bfloat16",
    clip_grad=dict(max_norm=1.0),
    optimizer=dict(type=AdamW, lr=1e-3, weight_decay=0.01, fused=True),
    constructor=ParamGroupConstructor,
    paramwise_cfg=dict(decay_norms_and_biases=False, lr_multipliers={"backbone": 0.3}),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, by_epoch=False, begin=0, end=200),
    dict(type=CosineAnnealingLR, by_epoch=False, begin=200, T_max=22200, end=22400, eta_min=1e-5),
]
default_hooks.update(checkpoint=dict(save_best="rec/acc50"))
