# ruff: noqa: F403, F405
from mmengine.config import read_base

with read_base():
    from ...configs._base_.default_runtime import *
    from ...configs._base_.refshapes_twin import *

from engine_mrefm_parts import DiaryHook, hiding_collate
from engine_toy import KillHook
from torch.optim import AdamW

from refkit.backbones import VQKD, BEiT3Backbone
from refkit.backbones.relation_teacher import CLIPTeacher
from refkit.data.refshapes.dataset import RefShapesDataset
from refkit.data.samplers import EpochSampler
from refkit.engine import AutocastOptimWrapper, ParamGroupConstructor
from refkit.engine.staged import StagedTrainLoop
from refkit.heads import MaskedImageHead, MaskedTextHead, SimilarityConstraintHead
from refkit.models import MRefM

model = dict(
    type=MRefM,
    data_preprocessor=preprocessor,
    backbone=dict(
        type=BEiT3Backbone,
        size=dict(
            width=32,
            layers=2,
            heads=2,
            image_size=96,
            patch_size=12,
            vocab_size=60,
            context_length=20,
            text_positions=22,
            position_std=0.02,
        ),
        drop_path=0.1,
        pad_id=0,
    ),
    visual_tokenizer=dict(
        type=VQKD,
        size=dict(width=64, layers=3, heads=2, image_size=96, patch_size=12, codes=64, code_width=16),
        weights="model_zoo/refshapes/vqkd_tiny.safetensors",
    ),
    relation_teacher=dict(
        type=CLIPTeacher,
        backbone={**backbone, "weights": "model_zoo/refshapes/clip_tiny.safetensors"},
        tokenizer=tokenizer,
        spelling=tokenizer,
    ),
    heads=dict(
        constraint=dict(type=SimilarityConstraintHead),
        masked_image=dict(type=MaskedImageHead, codes=64),
        masked_text=dict(type=MaskedTextHead, vocabulary=60, context_length=20, drop_from=4),
    ),
    preset="paper",
    schedule="alternate",
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(type=RefShapesDataset, scenes=4, pipeline=pipeline),
    sampler=dict(type=EpochSampler),
    collate_fn=dict(type=hiding_collate, words=words),
)
train_cfg = dict(type=StagedTrainLoop, stages=[dict(name="first", epochs=1), dict(name="second", epochs=1)])
optim_wrapper = dict(
    type=AutocastOptimWrapper,
    precision="float32",
    accumulative_counts=1,
    optimizer=dict(type=AdamW, lr=1e-3, fused=True),
    constructor=ParamGroupConstructor,
)
default_hooks.update(checkpoint=dict(interval_iters=2, keep=9))
custom_hooks = [dict(type=DiaryHook), dict(type=KillHook)]
