# ruff: noqa: F403, F405
from mmengine.config import read_base

with read_base():
    from .engine_toy_config import *

from engine_toy import AdaptedFinder

from refkit.engine.staged import StagedTrainLoop

model = dict(type=AdaptedFinder, fresh=False)
train_cfg = dict(
    type=StagedTrainLoop,
    stages=[
        dict(name="warm-up", epochs=2, lr=0.05, model=dict(adapt=0)),
        dict(name="first", epochs=1, lr=0.02, batch_size=4, start="best", model=dict(adapt=1)),
        dict(
            name="second",
            epochs=2,
            batch_size=3,
            model=dict(adapt=2, without=["extra"]),
            optim_wrapper=dict(accumulative_counts=2),
            param_scheduler=[dict(type=CosineAnnealingLR, by_epoch=False)],
        ),
    ],
)
optim_wrapper.pop("paramwise_cfg")
param_scheduler = [dict(type=LinearLR, start_factor=0.1, by_epoch=False, end=4), dict(type=CosineAnnealingLR)]
default_hooks.update(checkpoint=dict(interval_iters=2, save_best="rec/miou", keep=9))
