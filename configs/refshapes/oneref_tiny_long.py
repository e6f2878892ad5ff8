"""The small twin of OneRef on RefShapes, trained on: three more epochs on scenes that it has not seen.

Not a row of any paper. The learning rate starts anew; another 307,200 samples, half an hour on one CPU
core. Goes on from the run of `oneref_tiny.py`:

    refkit train configs/refshapes/oneref_tiny.py
    refkit train configs/refshapes/oneref_tiny_long.py
"""

from mmengine.config import read_base

with read_base():
    from .oneref_tiny import *

from mmengine.optim import CosineAnnealingLR, LinearLR

load_from = "work_dirs/oneref_tiny/iter_6400.pth"
train_dataloader["dataset"].update(start=20480)
train_cfg.update(max_epochs=3)
optim_wrapper["optimizer"].update(lr=1.5e-3)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, by_epoch=False, begin=0, end=100),
    dict(type=CosineAnnealingLR, by_epoch=False, begin=100, T_max=4700, end=4800, eta_min=1e-5),
]
