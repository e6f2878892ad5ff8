# ruff: noqa: F403, F405
from mmengine.config import read_base

with read_base():
    from ..engine_toy_config import *

param_scheduler = [
    dict(type=CosineAnnealingLR, by_epoch=True, begin=0, end=3, T_max=3, convert_to_iter_based=True)
]
