"""The small twin of OneRef on RefShapes with finer masks: the grid doubled three times, as OneRef does.

Not a row of any paper. Goes on from the run of `oneref_tiny_long.py`, whose masks are drawn in cells of three
pixels, and adds the last step of the mask head from random weights; the learning rate starts anew, on scenes
that it has not seen. Another 307,200 samples.

    refkit train configs/refshapes/oneref_tiny.py
    refkit train configs/refshapes/oneref_tiny_long.py
    refkit train configs/refshapes/oneref_tiny_fine.py
"""

from mmengine.config import read_base

with read_base():
    from .oneref_tiny_long import *

from mmengine.optim import CosineAnnealingLR, LinearLR

load_from = "work_dirs/oneref_tiny_long/iter_4800.pth"
load_allow_missing = ["heads.mask.convolutions.2.*", "heads.mask.norms.2.*"]
model["heads"]["mask"].update(steps=3)
train_dataloader["dataset"].update(start=40960)
train_cfg.update(max_epochs=3)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, by_epoch=False, begin=0, end=100),
    dict(type=CosineAnnealingLR, by_epoch=False, begin=100, T_max=4700, end=4800, eta_min=1e-5),
]
