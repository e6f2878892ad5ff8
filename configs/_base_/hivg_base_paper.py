"""HiVG-B as the paper describes it, where that differs from the released code (configs/_base_/hivg_base.py).

Bridges after blocks 4, 8 and 12 reading all twelve text levels; smooth L1; no mask branch; fresh LoRA
matrices in every stage, merged after it, in equal thirds of the blocks, on queries, keys, values and fully
connected layers; 50 epochs before HiLoRA. The paper gives batches of 60 (text) and 80 (table) per GPU on 8
GPUs; here 60.
"""

from mmengine.config import read_base

with read_base():
    from .hivg_base import *

model["backbone"]["bridge"].update(blocks=[3, 7, 11], text_levels=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
model["heads"]["box"].update(regression="smooth_l1")
model["heads"].pop("mask")
model["adapters"].update(preset="paper")
train_cfg.update(
    stages=[
        dict(name="warm-up", epochs=50, lr=2.5e-4, batch_size=60, model=dict(adapt=0)),
        dict(name="hilora-1", epochs=20, lr=1e-4, batch_size=60, start="best", model=dict(adapt=1)),
        dict(name="hilora-2", epochs=20, lr=5e-5, batch_size=60, start="best", model=dict(adapt=2)),
        dict(name="hilora-3", epochs=20, lr=2.5e-5, batch_size=60, start="best", model=dict(adapt=3)),
    ]
)
