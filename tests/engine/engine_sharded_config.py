# ruff: noqa: F403, F405
from mmengine.config import read_base

with read_base():
    from .engine_toy_config import *

from engine_toy import FrozenFinder

model.update(type=FrozenFinder)
model_wrapper_cfg = dict(type="refkit.ShardedModel", parts=["backbone"])
train_cfg.update(max_epochs=2)
optim_wrapper = dict(
    type=AutocastOptimWrapper, optimizer=dict(type=AdamW, lr=0.05), clip_grad=dict(max_norm=1.0)
)
custom_hooks = []
