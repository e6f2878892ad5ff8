"""The mixture of three training sets (``oneref_mixture.py``) with masks; the best mean IoU is kept."""

from mmengine.config import read_base

with read_base():
    from .oneref_mixture import *

train_dataloader["dataset"]["members"][0].update(with_masks=True)
train_dataloader["dataset"]["members"][1].update(with_masks=True)
train_dataloader["dataset"]["members"][2].update(with_masks=True)
default_hooks.update(checkpoint=dict(save_best="res/miou"))
