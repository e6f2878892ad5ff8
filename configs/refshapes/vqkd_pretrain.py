"""Training of the small visual tokenizer on RefShapes; made ``model_zoo/refshapes/vqkd_tiny``.

Not a row of any paper: it gives `MRefM`'s small twin what the released VQ-KD gives the full-size model. 64
codes for patches of 12 x 12 pixels tell the features of the small CLIP.

    refkit train configs/refshapes/vqkd_pretrain.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.default_runtime import *
    from .._base_.refshapes_twin import *

from mmengine.optim import CosineAnnealingLR, LinearLR
from torch.optim import AdamW

from refkit.backbones import VQKD
from refkit.data.refshapes.dataset import RefShapesRegions
from refkit.data.samplers import EpochSampler
from refkit.engine import AutocastOptimWrapper, ExactTrainLoop, ParamGroupConstructor
from refkit.models import VQKDPretrain

model = dict(
    type=VQKDPretrain,
    data_preprocessor=dict(type=ReferringPreprocessor),
    visual_tokenizer=dict(
        type=VQKD,
        size=dict(width=64, layers=3, heads=2, image_size=96, patch_size=12, codes=64, code_width=16),
    ),
    teacher={**backbone, "weights": "model_zoo/refshapes/clip_tiny.safetensors"},
    decoder_layers=1,
    decay=0.9,
    restart_below=1.0,
)
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    dataset=dict(type=RefShapesRegions, scenes=9600, scene_seed=1000, pipeline=pipeline),
    sampler=dict(type=EpochSampler),
    collate_fn=collate_fn,
)
train_cfg = dict(type=ExactTrainLoop, max_epochs=1)
optim_wrapper = dict(
    type=AutocastOptimWrapper,
    precision="float32",
    clip_grad=dict(max_norm=1.0),
    optimizer=dict(type=AdamW, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05, fused=True),
    constructor=ParamGroupConstructor,
    paramwise_cfg=dict(decay_norms_and_biases=False),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, by_epoch=False, begin=0, end=30),
    dict(type=CosineAnnealingLR, by_epoch=False, begin=30, T_max=570, end=600, eta_min=1e-5),
]
