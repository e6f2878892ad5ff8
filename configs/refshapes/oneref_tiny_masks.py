"""The small twin of OneRef on RefShapes, last stage: two more epochs in which masks count twice.

Not a row of any paper. Goes on from the run of `oneref_tiny_fine.py` on other scenes, with the learning rate
started anew and both mask losses doubled; another 204,800 samples. Answers are the largest connected part of
a mask. Made the zoo's ``oneref_tiny``.

    refkit train configs/refshapes/oneref_tiny_fine.py
    refkit train configs/refshapes/oneref_tiny_masks.py
"""

from mmengine.config import read_base

with read_base():
    from .oneref_tiny_fine import *

from mmengine.optim import CosineAnnealingLR, LinearLR

load_from = "work_dirs/oneref_tiny_fine/iter_4800.pth"
load_allow_missing = []
model["heads"]["mask"].update(focal_weight=8.0, dice_weight=4.0, parts="largest")
train_dataloader["dataset"].update(start=61440)
train_cfg.update(max_epochs=2)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, by_epoch=False, begin=0, end=100),
    dict(type=CosineAnnealingLR, by_epoch=False, begin=100, T_max=3100, end=3200, eta_min=1e-5),
]
