# ruff: noqa: F403, F405
from mmengine.config import read_base

with read_base():
    from ...configs._base_.default_runtime import *

from torch.optim import AdamW

from refkit.backbones import CLIPBackbone, GroundingEncoder, WordTokenizer
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

size = dict(
    embed=32,
    image_size=32,
    patch_size=8,
    vision=dict(width=32, layers=2, heads=2),
    text=dict(width=32, layers=1, heads=2),
    vocab_size=12,
    context_length=8,
)
model = dict(
    type=HiVG,
    data_preprocessor=dict(
        type=ReferringPreprocessor,
        tokenizer=dict(type=WordTokenizer, vocabulary="words.json", context_length=8),
    ),
    backbone=dict(type=CLIPBackbone, size=size, visual_levels=[1, 2]),
    encoder=dict(type=GroundingEncoder, width=32, layers=2, heads=2),
    heads=dict(box=dict(type=BoxHead)),
)
pipeline = [dict(type=Letterbox, size=32)]
dataset = dict(type=ReferringDataset, records="squares.jsonl", image_root="images", pipeline=pipeline)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dataset,
    sampler=dict(type=EpochSampler),
    collate_fn=dict(type=collate),
)
val_dataloader = dict(batch_size=5, num_workers=0, dataset=dataset, collate_fn=dict(type=collate))
test_dataloader = val_dataloader
train_cfg = dict(type=ExactTrainLoop, max_epochs=30, val_interval=30)
val_cfg = dict(type=EvalLoop)
test_cfg = dict(type=FinalEvalLoop)
val_evaluator = dict(type=RECMetric, by="kind")
test_evaluator = val_evaluator
optim_wrapper = dict(
    type=AutocastOptimWrapper,
    precision="bfloat16",
    clip_grad=dict(max_norm=1.0),
    optimizer=dict(type=AdamW, lr=2e-3, weight_decay=1e-4, fused=True),
    constructor=ParamGroupConstructor,
    paramwise_cfg=dict(decay_norms_and_biases=False),
)
default_hooks.update(checkpoint=dict(interval=30))
