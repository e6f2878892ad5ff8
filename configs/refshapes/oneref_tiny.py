"""The small twin of OneRef on RefShapes: boxes and masks from one model.

Not a row of any paper, and no released OneRef does both. One tower of four blocks reads picture and words
together, from random weights: therefore cosines times 8 and a smaller coefficient of the focal losses (4, not
20). With the published numbers, which start from BEiT-3, all cosines go to -1 at once and stay there, for
their gradient vanishes. The mask head doubles the grid twice, to a third of the picture's side.

    refkit train configs/refshapes/oneref_tiny.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.default_runtime import *
    from .._base_.refshapes_twin import *

from mmengine.optim import CosineAnnealingLR, LinearLR
from torch.optim import AdamW

from refkit.backbones import BEiT3Backbone
from refkit.data.refshapes.dataset import RefShapesDataset
from refkit.data.samplers import EpochSampler
from refkit.engine import (
    AutocastOptimWrapper,
    EvalLoop,
    ExactTrainLoop,
    FinalEvalLoop,
    ParamGroupConstructor,
    ProtocolMetric,
)
from refkit.heads import CosineMaskHead, SimilarityBoxHead, SimilarityConstraintHead
from refkit.models import OneRef

backbone = dict(
    type=BEiT3Backbone,
    size=dict(
        width=128,
        layers=4,
        heads=4,
        image_size=96,
        patch_size=12,
        vocab_size=59,
        context_length=20,
        text_positions=22,
        position_std=0.02,
        linear_std=0.08,
    ),
    drop_path=0.0,
    pad_id=0,
)
model = dict(
    type=OneRef,
    data_preprocessor=preprocessor,
    backbone=backbone,
    heads=dict(
        box=dict(type=SimilarityBoxHead, box_weight=2.0, giou_weight=2.0, scale=8.0),
        constraint=dict(type=SimilarityConstraintHead, focal_weight=4.0, scale=8.0),
        mask=dict(type=CosineMaskHead, steps=2, focal_weight=4.0, scale=8.0),
    ),
)
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    dataset=dict(
        type=RefShapesDataset, scenes=20480, scene_seed=0, keep=20480, with_masks=True, pipeline=pipeline
    ),
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
train_cfg = dict(type=ExactTrainLoop, max_epochs=3, val_interval=1)
val_cfg = dict(type=EvalLoop)
test_cfg = dict(type=FinalEvalLoop)
val_evaluator = dict(type=ProtocolMetric, protocol=["rec/1", "res/1"], by="kind")
test_evaluator = val_evaluator
optim_wrapper = dict(
    type=AutocastOptimWrapper,
    precision="bfloat16",
    fused_attention=False,
    clip_grad=dict(max_norm=1.0),
    optimizer=dict(type=AdamW, lr=1e-3, weight_decay=0.01, fused=True),
    constructor=ParamGroupConstructor,
    paramwise_cfg=dict(decay_norms_and_biases=False),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, by_epoch=False, begin=0, end=200),
    dict(type=CosineAnnealingLR, by_epoch=False, begin=200, T_max=4600, end=4800, eta_min=1e-5),
]
default_hooks.update(checkpoint=dict(save_best="res/miou"))
