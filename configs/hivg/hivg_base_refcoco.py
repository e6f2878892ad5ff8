"""Full-size HiVG-B in its simplest form on RefCOCO, with the towers of CLIP ViT-B/16 frozen.

Not a row of the paper's tables, which have the bridge and HiLoRA. Learning rate, epochs, weight decay and
batch size are those of stage 0 of the released scripts. Below the data root, from the REFER distribution:

    refkit data import refer downloads/refcoco --out data/records --split-by unc
    refkit train configs/hivg/hivg_base_refcoco.py

Its speed, with random weights, on drawn pictures where the data are not there:

    tools/benchmark.py --config configs/hivg/hivg_base_refcoco.py --batch-size 8
"""

from mmengine.config import read_base

with read_base():
    from .._base_.default_runtime import *

from mmengine.optim import CosineAnnealingLR
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
    data_preprocessor=dict(type=ReferringPreprocessor, tokenizer=dict(type=CLIPTokenizer), trim_text=True),
    backbone=dict(type=CLIPBackbone, size="ViT-B-16", weights="openai", visual_levels=[1, 4, 8, 12]),
    encoder=dict(type=GroundingEncoder, width=512, layers=6, heads=8),
    heads=dict(box=dict(type=BoxHead)),
    freeze=["backbone"],
)
pipeline = [dict(type=Letterbox, size=224)]
train_dataloader = dict(
    batch_size=80,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(type=ReferringDataset, records="records/refcoco.unc.train.jsonl", pipeline=pipeline),
    sampler=dict(type=EpochSampler),
    collate_fn=dict(type=collate),
)
val_dataloader = dict(
    batch_size=80,
    num_workers=4,
    dataset=dict(type=ReferringDataset, records="records/refcoco.unc.val.jsonl", pipeline=pipeline),
    collate_fn=dict(type=collate),
)
test_dataloader = dict(
    batch_size=80,
    num_workers=4,
    dataset=dict(type=ReferringDataset, records="records/refcoco.unc.testA.jsonl", pipeline=pipeline),
    collate_fn=dict(type=collate),
)
train_cfg = dict(type=ExactTrainLoop, max_epochs=60, val_interval=1)
val_cfg = dict(type=EvalLoop)
test_cfg = dict(type=FinalEvalLoop)
val_evaluator = dict(type=RECMetric)
test_evaluator = val_evaluator
optim_wrapper = dict(
    type=AutocastOptimWrapper,
    precision="bfloat16",
    optimizer=dict(type=AdamW, lr=2.5e-4, weight_decay=1e-4, fused=True),
    constructor=ParamGroupConstructor,
)
param_scheduler = [dict(type=CosineAnnealingLR, by_epoch=True, begin=0, T_max=60, end=60, eta_min=0.0)]
default_hooks.update(checkpoint=dict(save_best="rec/acc50"))
