"""Contrastive pre-training of the small BEiT-3 on RefShapes captions; made ``beit3_tiny``.

Not a row of any paper: it gives OneRef's twins what published BEiT-3 weights give the full-size models. The
branches see one modality each, as in BEiT-3's tuning for retrieval.

    refkit train configs/refshapes/beit3_pretrain.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.default_runtime import *
    from .._base_.refshapes_beit3 import *

from mmengine.optim import CosineAnnealingLR, LinearLR
from torch.optim import AdamW

from refkit.data.refshapes.dataset import RefShapesRegions
from refkit.data.samplers import EpochSampler
from refkit.engine import AutocastOptimWrapper, ExactTrainLoop, ParamGroupConstructor
from refkit.models import BEiT3Pretrain

model = dict(
    type=BEiT3Pretrain,
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
    sampler=dict(type=EpochSampler, samples=38400),
    collate_fn=collate_fn,
)
train_cfg = dict(type=ExactTrainLoop, max_epochs=2)
optim_wrapper = dict(
    type=AutocastOptimWrapper,
    precision="bfloat16",
    fused_attention=False,
    clip_grad=dict(max_norm=1.0),
    optimizer=dict(type=AdamW, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.05, fused=True),
    constructor=ParamGroupConstructor,
    paramwise_cfg=dict(decay_norms_and_biases=False),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, by_epoch=False, begin=0, end=100),
    dict(type=CosineAnnealingLR, by_epoch=False, begin=100, T_max=1100, end=1200, eta_min=1e-5),
]
