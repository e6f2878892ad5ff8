"""A small HiVG from random weights on annotated photographs: it must learn them by heart.

This shows that records, pictures, model and runner fit real annotations. It is no measure of accuracy: it is
evaluated on the very expressions it is trained on, and the pictures of the evaluation splits are among them.

Below the data root (``data``, or REFKIT_DATA, or --data-root): ``real/images/`` with the pictures, copied or
linked, and the records, imported from a file of plain lines (docs/pages/sources.md):

    refkit data import jsonl records.jsonl --name refcoco-family.mixed.all --image-root real \
        --out data/real/all.jsonl
    refkit train configs/hivg/hivg_small_real_pictures.py

docs/pages/real_pictures.md has the whole procedure and its outcome on 128 pictures with 427 expressions.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.default_runtime import *

from mmengine.optim import CosineAnnealingLR, LinearLR
from torch.optim import AdamW

from refkit.backbones import CLIPBackbone, CLIPTokenizer, GroundingEncoder
from refkit.data.collate import collate
from refkit.data.dataset import ReferringDataset
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.data.samplers import EpochSampler
from refkit.data.transforms import Letterbox
from refkit.engine import (
    AutocastOptimWrapper,
    EvalLoop,
    ExactTrainLoop,
    FinalEvalLoop,
    ParamGroupConstructor,
    RECMetric,
)
from refkit.heads import BoxHead
from refkit.models import HiVG

model = dict(
    type=HiVG,
    data_preprocessor=dict(
        type=ReferringPreprocessor, tokenizer=dict(type=CLIPTokenizer, context_length=32), trim_text=True
    ),
    backbone=dict(
        type=CLIPBackbone,
        size=dict(
            embed=192,
            image_size=192,
            patch_size=32,
            vision=dict(width=192, layers=4, heads=4),
            text=dict(width=128, layers=2, heads=4),
            context_length=32,
        ),
        visual_levels=[1, 2, 3, 4],
    ),
    encoder=dict(type=GroundingEncoder, width=192, layers=3, heads=4, dropout=0.0),
    heads=dict(box=dict(type=BoxHead)),
)
dataset = dict(
    type=ReferringDataset,
    records="real/all.jsonl",
    pipeline=[dict(type=Letterbox, size=192)],
    keep_images=128,  # decoded once, about 120 MB
)
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    dataset=dataset,
    sampler=dict(type=EpochSampler),
    collate_fn=dict(type=collate),
)
# The training records again: see above.
val_dataloader = dict(
    batch_size=64, num_workers=1, persistent_workers=True, dataset=dataset, collate_fn=dict(type=collate)
)
test_dataloader = val_dataloader
train_cfg = dict(type=ExactTrainLoop, max_epochs=60, val_interval=20)
val_cfg = dict(type=EvalLoop)
test_cfg = dict(type=FinalEvalLoop)
val_evaluator = dict(type=RECMetric)
test_evaluator = val_evaluator
optim_wrapper = dict(
    type=AutocastOptimWrapper,
    precision="bfloat16",
    clip_grad=dict(max_norm=1.0),
    optimizer=dict(type=AdamW, lr=1e-3, weight_decay=0.01, fused=True),
    constructor=ParamGroupConstructor,
    paramwise_cfg=dict(decay_norms_and_biases=False),
)
# By epochs, in steps of iterations: any number of records.
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, begin=0, end=4, convert_to_iter_based=True),
    dict(type=CosineAnnealingLR, eta_min=1e-5, begin=4, end=60, convert_to_iter_based=True),
]
default_hooks.update(checkpoint=dict(interval=20))
