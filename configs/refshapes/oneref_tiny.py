"""The small twin of OneRef on RefShapes: boxes and masks from one model. 45 minutes on one CPU core.

Not a row of any paper, and no released OneRef does both. Starts from the small BEiT-3 of
``beit3_pretrain.py``, as OneRef starts from BEiT-3; its branches have not met before, so a modality gap keeps
what they know. The published coefficient 20 of the focal losses is 4 here, cosines are multiplied by 8 before
softmax and sigmoid (published: 1), the constraint has its threshold at a cosine of 0.5 (published: 0), and
the mask head doubles the grid twice instead of three times, to a third of the picture's side. The backbone
learns at a fifth of the heads' rate.

    refkit train configs/refshapes/oneref_tiny.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.default_runtime import *
    from .._base_.refshapes_beit3 import *

from mmengine.optim import CosineAnnealingLR, LinearLR
from torch.optim import AdamW

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

backbone.update(weights="model_zoo/refshapes/beit3_tiny.safetensors", modality_gap=4.0)
model = dict(
    type=OneRef,
    data_preprocessor=preprocessor,
    backbone=backbone,
    heads=dict(
        box=dict(type=SimilarityBoxHead, box_weight=2.0, giou_weight=2.0, scale=8.0),
        constraint=dict(type=SimilarityConstraintHead, focal_weight=4.0, scale=8.0, threshold=0.5),
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
train_cfg = dict(type=ExactTrainLoop, max_epochs=4, val_interval=1)
val_cfg = dict(type=EvalLoop)
test_cfg = dict(type=FinalEvalLoop)
val_evaluator = dict(type=ProtocolMetric, protocol=["rec/1", "res/1"], by="kind")
test_evaluator = val_evaluator
optim_wrapper = dict(
    type=AutocastOptimWrapper,
    precision="bfloat16",
    fused_attention=False,
    clip_grad=dict(max_norm=1.0),
    optimizer=dict(type=AdamW, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
    constructor=ParamGroupConstructor,
    paramwise_cfg=dict(decay_norms_and_biases=False, lr_multipliers={"backbone": 0.2}),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, by_epoch=False, begin=0, end=100),
    dict(type=CosineAnnealingLR, by_epoch=False, begin=100, T_max=6300, end=6400, eta_min=1e-5),
]
default_hooks.update(checkpoint=dict(save_best="res/miou"))
