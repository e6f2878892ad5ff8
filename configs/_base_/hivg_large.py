"""HiVG-L as released, and its schedule: a warm-up without bridge, stage 0, then HiLoRA in three stages.

The published sizes of CLIP ViT-L/14 at 224 x 224. Blocks 12 to 23 of the vision tower are never adapted.
Text levels of the bridge as in ``hivg_base.py``.
"""

from mmengine.config import read_base

with read_base():
    from .hivg_base import *

model["backbone"].update(size="ViT-L-14", visual_levels=[6, 12, 18, 24])
model["backbone"]["bridge"].update(blocks=[4, 10, 16, 22])
model["encoder"].update(width=768)
train_cfg.update(
    stages=[
        dict(
            name="warm-up",
            epochs=10,
            lr=2.5e-4,
            batch_size=32,
            model=dict(adapt=0, without=["backbone.bridges", "heads.region_text"]),
        ),
        dict(name="bridge", epochs=60, lr=2.5e-4, batch_size=32, start="best", model=dict(adapt=0)),
        dict(name="hilora-1", epochs=10, lr=1e-4, batch_size=32, start="best", model=dict(adapt=1)),
        dict(name="hilora-2", epochs=10, lr=5e-5, batch_size=32, start="best", model=dict(adapt=2)),
        dict(name="hilora-3", epochs=10, lr=2.5e-5, batch_size=32, start="best", model=dict(adapt=3)),
    ]
)
