"""Contrastive pre-training of the small CLIP on RefShapes captions; made ``model_zoo/refshapes/clip_tiny``.

Not a row of any paper: it gives the small twins what published CLIP weights give the full-size models.

    refkit train configs/refshapes/clip_pretrain.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.default_runtime import *
    from .._base_.refshapes_twin import *

from mmengine.optim import CosineAnnealingLR, LinearLR
from torch.optim import AdamW

from refkit.data.refshapes.dataset import RefShapesRegions
from refkit.data.samplers import EpochSampler
from refkit.engine import AutocastOptimWrapper, ExactTrainLoop, ParamGroupConstructor
from refkit.models import CLIPPretrain

model = dict(
    type=CLIPPretrain,
    data_preprocessor=preprocessor,
    backbone=backbone,
    tokenizer=tokenizer,
    image_weight=0.2,
)
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    dataset=dict(type=RefShapesRegions, scenes=51200, scene_seed=1000, pipeline=pipeline),
    sampler=dict(type=EpochSampler),
    collate_fn=collate_fn,
)
train_cfg = dict(type=ExactTrainLoop, max_epochs=2)
optim_wrapper = dict(
    type=AutocastOptimWrapper,
    precision="bfloat16",
    clip_grad=dict(max_norm=1.0),
    optimizer=dict(type=AdamW, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.05, fused=True),
    constructor=ParamGroupConstructor,
    paramwise_cfg=dict(decay_norms_and_biases=False),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, by_epoch=False, begin=0, end=200),
    dict(type=CosineAnnealingLR, by_epoch=False, begin=200, T_max=1400, end=1600, eta_min=1e-5),
]
