"""Contrastive pre-training of the small BEiT-3 on RefShapes captions; made ``beit3_tiny``.

Not a row of any paper: it gives OneRef's twins what published BEiT-3 weights give the full-size models. The
branches see one modality each, as in BEiT-3's tuning for retrieval.

    refkit train configs/refshapes/beit3_pretrain.py
"""

from mmengine.config import read_base

with read_base():
    from .clip_pretrain import *
    from .._base_.refshapes_beit3 import *

from refkit.models import BEiT3Pretrain

model = dict(
    type=BEiT3Pretrain,
    data_preprocessor=preprocessor,
    backbone=backbone,
    tokenizer=tokenizer,
    image_weight=0.2,
)
train_dataloader["sampler"].update(samples=38400)
optim_wrapper.update(fused_attention=False)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, by_epoch=False, begin=0, end=100),
    dict(type=CosineAnnealingLR, by_epoch=False, begin=100, T_max=1100, end=1200, eta_min=1e-5),
]
