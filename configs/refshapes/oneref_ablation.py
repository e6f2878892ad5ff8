"""The small twin of OneRef for the table on pre-training: Mask Referring Modeling, then fine-tuning.

Not a row of any paper. As it stands, both stages are fine-tuning: the row "no pre-training" of
`configs/refshapes/ablation/oneref.py`, whose other rows hide patches and words in the first. All rows train
equally long in both, and begin with the small BEiT-3 (`beit3_pretrain.py`). The semantic relation score has
the same BEiT-3 as its teacher, the visual codes come from ``vqkd_tiny``.

    refkit train configs/refshapes/oneref_ablation.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.default_runtime import *
    from .._base_.refshapes_beit3 import *

from mmengine.optim import CosineAnnealingLR
from torch.optim import AdamW

from refkit.backbones import VQKD
from refkit.backbones.relation_teacher import BEiT3Teacher
from refkit.data.refshapes.dataset import RefShapesDataset
from refkit.data.samplers import EpochSampler
from refkit.data.transforms import Letterbox, MaskText, ReferringMask
from refkit.engine import (
    AutocastOptimWrapper,
    EvalLoop,
    FinalEvalLoop,
    ParamGroupConstructor,
    ProtocolMetric,
    StagedTrainLoop,
)
from refkit.heads import (
    CosineMaskHead,
    MaskedImageHead,
    MaskedTextHead,
    SimilarityBoxHead,
    SimilarityConstraintHead,
)
from refkit.models import MRefM

backbone.update(weights="model_zoo/refshapes/beit3_tiny.safetensors", modality_gap=4.0)
model = dict(
    type=MRefM,
    data_preprocessor=preprocessor,
    backbone=backbone,
    visual_tokenizer=dict(
        type=VQKD,
        size=dict(width=64, layers=3, heads=2, image_size=96, patch_size=12, codes=64, code_width=16),
        weights="model_zoo/refshapes/vqkd_tiny.safetensors",
    ),
    relation_teacher=dict(type=BEiT3Teacher, backbone={**backbone, "modality_gap": 0.0}),
    heads=dict(
        box=dict(type=SimilarityBoxHead, box_weight=2.0, giou_weight=2.0, scale=8.0),
        mask=dict(type=CosineMaskHead, steps=2, focal_weight=4.0, scale=8.0),
        constraint=dict(type=SimilarityConstraintHead, focal_weight=4.0, scale=8.0, threshold=0.5),
        masked_image=dict(type=MaskedImageHead, codes=64),
        masked_text=dict(type=MaskedTextHead, vocabulary=202, context_length=20, drop_from=10000),
    ),
    preset="published",
    schedule="alternate",
    relation_softmax="single",
)
hiding = [
    dict(type=Letterbox, size=96),
    dict(type=ReferringMask, patch_size=12, rule="published"),
    dict(type=MaskText, tokenizer=tokenizer, rule="published"),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    dataset=dict(
        type=RefShapesDataset,
        scenes=3000,
        scene_seed=0,
        min_objects=3,
        max_objects=5,
        keep=3000,
        draw_ahead=True,
        with_masks=True,
        pipeline=hiding,
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
        dict(
            name="pre-training",
            epochs=5,
            lr=2e-3,
            model=dict(without=["heads.masked_image", "heads.masked_text"]),
        ),
        dict(
            name="fine-tuning",
            epochs=5,
            lr=2e-3,
            model=dict(without=["heads.masked_image", "heads.masked_text"]),
        ),
    ],
)
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
# Of each stage, in steps of iterations, from its begin to its end.
param_scheduler = [dict(type=CosineAnnealingLR, by_epoch=True, convert_to_iter_based=True)]
default_hooks["checkpoint"].update(interval=10)
default_hooks["pictures"].update(count=0)
