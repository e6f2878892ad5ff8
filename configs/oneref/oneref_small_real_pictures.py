"""A small OneRef from random weights on annotated photographs: it must learn boxes and masks by heart.

This shows that records, masks, model and runner fit real annotations. It is no measure of accuracy: it is
evaluated on the very expressions it is trained on, and the pictures of the evaluation splits are among them.
Expressions whose object has no mask are left out and counted (235 of 427).

Below the data root (``data``, or REFKIT_DATA, or --data-root): ``real/images/`` with the pictures, copied or
linked, and the records, imported from a file of plain lines (docs/pages/sources.md):

    refkit data import jsonl records.jsonl --name refcoco-family.mixed.all --image-root real \
        --out data/real/all.jsonl
    refkit train configs/oneref/oneref_small_real_pictures.py

docs/pages/real_pictures.md has the whole procedure and its outcome.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.default_runtime import *

from mmengine.optim import CosineAnnealingLR, LinearLR
from torch.optim import AdamW

from refkit.backbones import BEiT3Backbone, CLIPTokenizer
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
    ProtocolMetric,
)
from refkit.heads import CosineMaskHead, SimilarityBoxHead, SimilarityConstraintHead
from refkit.models import OneRef

model = dict(
    type=OneRef,
    data_preprocessor=dict(
        type=ReferringPreprocessor, tokenizer=dict(type=CLIPTokenizer, context_length=32), trim_text=True
    ),
    backbone=dict(
        type=BEiT3Backbone,
        size=dict(
            width=128,
            layers=4,
            heads=4,
            image_size=192,
            patch_size=16,
            vocab_size=49408,
            context_length=32,
            text_positions=34,
            position_std=0.02,
            linear_std=0.08,
        ),
        drop_path=0.0,
        pad_id=0,
    ),
    heads=dict(
        box=dict(type=SimilarityBoxHead, box_weight=2.0, giou_weight=2.0, scale=8.0),
        constraint=dict(type=SimilarityConstraintHead, focal_weight=4.0, scale=8.0),
        mask=dict(type=CosineMaskHead, steps=2, focal_weight=4.0, scale=8.0),
    ),
)
dataset = dict(
    type=ReferringDataset,
    records="real/all.jsonl",
    with_masks=True,
    without_mask="exclude",
    pipeline=[dict(type=Letterbox, size=192)],
    keep_images=128,  # decoded once, about 120 MB
)
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    dataset=dataset,
    sampler=dict(type=EpochSampler),
    collate_fn=dict(type=collate),
)
# The training records again: see above.
val_dataloader = dict(
    batch_size=32, num_workers=1, persistent_workers=True, dataset=dataset, collate_fn=dict(type=collate)
)
test_dataloader = val_dataloader
train_cfg = dict(type=ExactTrainLoop, max_epochs=180, val_interval=60)
val_cfg = dict(type=EvalLoop)
test_cfg = dict(type=FinalEvalLoop)
val_evaluator = dict(type=ProtocolMetric, protocol=["rec/1", "res/1"])
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
# By epochs, in steps of iterations: any number of records.
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, begin=0, end=6, convert_to_iter_based=True),
    dict(type=CosineAnnealingLR, eta_min=1e-5, begin=6, end=180, convert_to_iter_based=True),
]
default_hooks.update(checkpoint=dict(interval=60))
