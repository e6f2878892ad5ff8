"""HiVG-L as the paper describes it, where that differs from the released code (configs/_base_/hivg_large.py).

Bridges after blocks 6, 12, 18 and 24; four HiLoRA stages over equal quarters of the 24 blocks, 15 epochs
each; everything else as in ``hivg_base_paper.py``.
"""

from mmengine.config import read_base

with read_base():
    from .hivg_base_paper import *

model["backbone"].update(size="ViT-L-14", visual_levels=[6, 12, 18, 24])
model["backbone"]["bridge"].update(blocks=[5, 11, 17, 23])
model["encoder"].update(width=768)
train_cfg.update(
    stages=[
        dict(name="warm-up", epochs=50, lr=2.5e-4, batch_size=60, model=dict(adapt=0)),
        dict(name="hilora-1", epochs=15, lr=1e-4, batch_size=60, start="best", model=dict(adapt=1)),
        dict(name="hilora-2", epochs=15, lr=7.5e-5, batch_size=60, start="best", model=dict(adapt=2)),
        dict(name="hilora-3", epochs=15, lr=5e-5, batch_size=60, start="best", model=dict(adapt=3)),
        dict(name="hilora-4", epochs=15, lr=2.5e-5, batch_size=60, start="best", model=dict(adapt=4)),
    ]
)
