"""The small twin of HiVG on RefShapes, trained longer: the same model, more scenes, more epochs.

Not a row of any paper.

    refkit train configs/refshapes/hivg_tiny_long.py
"""

from mmengine.config import read_base

with read_base():
    from .hivg_tiny import *

train_dataloader["dataset"].update(scenes=20480, keep=1)
train_cfg.update(max_epochs=3)
param_scheduler[0].update(end=200)
param_scheduler[1].update(begin=200, T_max=9400, end=9600)
