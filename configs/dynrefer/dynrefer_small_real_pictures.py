"""A small DynRefer from random weights on annotated photographs: it must learn captions by heart.

This shows that records, views, language model and runner fit real annotations. It is no measure of accuracy:
it is evaluated on the very regions it is trained on. Nothing is frozen, for nothing was trained before.

Below the data root: ``real/images/`` with the pictures of both sets, and ``real/all.jsonl`` and
``real/vg.jsonl``, imported as docs/pages/real_pictures.md says, which also has the outcome. Then

    refkit data import captions data/real/all.jsonl --tagger rules --out data/real/captions/all.jsonl
    refkit data import captions data/real/vg.jsonl --tagger rules --out data/real/captions/vg.jsonl
    python tools/train_refshapes_spm.py --t5 --pieces 1000 --out data/real/captions.spm \
        --records data/real/captions/all.jsonl data/real/captions/vg.jsonl
    refkit train configs/dynrefer/dynrefer_small_real_pictures.py

Unlike records, the vocabulary ``captions.spm`` is looked for from the working folder on.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.default_runtime import *

from mmengine.optim import CosineAnnealingLR, LinearLR
from torch.optim import AdamW

from refkit.backbones import CLIPTower, RegionEncoder, T5Tokenizer
from refkit.data.collate import collate
from refkit.data.dataset import ReferringDataset
from refkit.data.mixture import MixtureDataset
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.data.samplers import EpochSampler
from refkit.data.transforms import RegionCaption, RegionViews
from refkit.engine import (
    AutocastOptimWrapper,
    EvalLoop,
    ExactTrainLoop,
    FinalEvalLoop,
    ParamGroupConstructor,
    ProtocolMetric,
)
from refkit.heads import CaptionHead, T5Writer
from refkit.models import DynRefer

tower, words = dict(width=128, layers=3, heads=4), dict(width=128, layers=1, heads=4)
clip_size = dict(embed=128, image_size=96, patch_size=16, vision=tower, text=words)
t5_size = dict(vocab_size=1000, d_model=128, d_kv=32, d_ff=256, num_layers=2, num_heads=4)
model = dict(
    type=DynRefer,
    data_preprocessor=dict(type=ReferringPreprocessor),
    backbone=dict(
        type=RegionEncoder,
        tower=dict(type=CLIPTower, size=clip_size),
        views=2,
        qformer=dict(width=128, layers=2, heads=4, feedforward=256, queries=8, dropout=0.0),
    ),
    heads=dict(
        caption=dict(
            type=CaptionHead,
            language_model=dict(type=T5Writer, size=t5_size, dropout=0.0),
            tokenizer=dict(type=T5Tokenizer, model="data/real/captions.spm"),
            longest=30,
            repetition_penalty=1.0,
        )
    ),
    freeze=[],
)
# The region and a larger crop, where the paper has it for captions; nothing is drawn by chance. Control words
# are few, for no tag head finds any in evaluation.
views = dict(type=RegionViews, views=2, side=96, selection=[0.0, 0.4])
train_pipeline = [dict(type=RegionCaption, full_drop=0.8), views]
test_pipeline = [views]
sets = ["real/captions/all.jsonl", "real/captions/vg.jsonl"]
train_dataloader = dict(
    batch_size=48,
    num_workers=1,
    persistent_workers=True,
    dataset=dict(
        type=MixtureDataset,
        members=[
            dict(type=ReferringDataset, records=sets[0], pipeline=train_pipeline, keep_images=128),
            dict(type=ReferringDataset, records=sets[1], pipeline=train_pipeline, keep_images=3),
        ],
        weights=[3.0, 1.0],  # COCO's regions have up to three captions each
        exclude_evaluated=False,
    ),
    sampler=dict(type=EpochSampler),
    collate_fn=dict(type=collate),
)
# Training records again, see above; those of the other set with test_dataloader.dataset.records.
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    dataset=dict(type=ReferringDataset, records=sets[1], pipeline=test_pipeline, keep_images=128),
    collate_fn=dict(type=collate),
)
test_dataloader = val_dataloader
train_cfg = dict(type=ExactTrainLoop, max_epochs=36, val_interval=12)
val_cfg = dict(type=EvalLoop)
test_cfg = dict(type=FinalEvalLoop)
val_evaluator = dict(type=ProtocolMetric, protocol=["caption/region", "caption/expression"])
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
    dict(type=LinearLR, start_factor=0.05, begin=0, end=4, convert_to_iter_based=True),
    dict(type=CosineAnnealingLR, eta_min=1e-5, begin=4, end=36, convert_to_iter_based=True),
]
default_hooks.update(checkpoint=dict(interval=12), pictures=dict(count=0))
