"""A smaller twin of HiVG for tables of ablations: smaller pictures, fewer objects, frozen CLIP, stages.

Not a row of any paper. Neither bridge nor adapters: the row that `configs/refshapes/ablation/hivg.py`
compares the others with. Stages are common to all rows, so that rows differ in what is trained in a stage,
never in how long. The contrast loss has a tenth of HiVG's weight: the small CLIP was trained on regions, and
the loss of whole pictures, ten times that of the boxes, would leave them no share of the clipped gradient.

    refkit train configs/refshapes/hivg_ablation.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.default_runtime import *
    from .._base_.refshapes_twin import *

from mmengine.optim import CosineAnnealingLR
from torch.optim import AdamW

from refkit.backbones import GroundingEncoder
from refkit.data.refshapes.dataset import RefShapesDataset
from refkit.data.samplers import EpochSampler
from refkit.engine import (
    AutocastOptimWrapper,
    EvalLoop,
    FinalEvalLoop,
    ParamGroupConstructor,
    RECMetric,
    StagedTrainLoop,
)
from refkit.heads import BoxHead, ContrastHead, RegionTextHead
from refkit.models import HiVG

pipeline[0].update(size=72)
backbone.update(
    image_size=72,  # CLIP was trained on 96×96: its positions are resized, and patches show more
    visual_levels=[1, 2, 3, 4],
    similarity=True,
    pooled=True,
    weights="model_zoo/refshapes/clip_tiny.safetensors",
    bridge=None,
)
model = dict(
    type=HiVG,
    data_preprocessor=preprocessor,
    backbone=backbone,
    encoder=dict(
        type=GroundingEncoder, width=128, layers=2, heads=4, dropout=0.0, sine=True, similarity=True
    ),
    heads=dict(
        box=dict(type=BoxHead),
        region_text=dict(type=RegionTextHead, hidden=256, decided_at="centre"),
        contrast=dict(type=ContrastHead, weight=0.1),
    ),
    freeze=["backbone.clip"],
    adapters=None,
)
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    dataset=dict(
        type=RefShapesDataset,
        scenes=3000,
        scene_seed=0,
        size=72,
        min_objects=3,
        max_objects=5,
        keep=3000,
        draw_ahead=True,
        pipeline=pipeline,
    ),
    sampler=dict(type=EpochSampler, samples=1536),
    collate_fn=collate_fn,
)
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    dataset=dict(
        type=RefShapesDataset,
        scenes=200,
        scene_seed=1,
        size=72,
        min_objects=3,
        max_objects=5,
        keep=200,
        draw_ahead=True,
        pipeline=pipeline,
    ),
    collate_fn=collate_fn,
)
test_dataloader = val_dataloader
train_cfg = dict(
    type=StagedTrainLoop,
    val_interval=10,
    stages=[
        dict(name="stage-0", epochs=4, lr=1e-3, model=dict(adapt=0, without=[])),
        dict(name="hilora-1", epochs=2, lr=1e-3, model=dict(adapt=0, without=[])),
        dict(name="hilora-2", epochs=2, lr=7e-4, model=dict(adapt=0, without=[])),
        dict(name="hilora-3", epochs=2, lr=5e-4, model=dict(adapt=0, without=[])),
    ],
)
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
    paramwise_cfg=dict(decay_norms_and_biases=False),
)
# Of each stage, in steps of iterations, from its begin to its end.
param_scheduler = [dict(type=CosineAnnealingLR, by_epoch=True, convert_to_iter_based=True)]
default_hooks["checkpoint"].update(interval=10)
default_hooks["pictures"].update(count=0)
