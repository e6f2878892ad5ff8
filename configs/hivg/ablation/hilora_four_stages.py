"""HiVG-B on RefCOCOg (umd), HiLoRA in four stages.

Table 5, row 5. Published Acc@0.5: test 78.16.
Blocks 1-3, 1-6, 1-9, 1-12, 15 epochs each, with the learning rates that the paper gives for the four stages
of HiVG-L: for this row it states none of these.
Everything else as in `hivg_base_refcocog`, which follows the released recipe.

    refkit train configs/hivg/ablation/hilora_four_stages.py
"""

from mmengine.config import read_base

with read_base():
    from ..hivg_base_refcocog import *

model["adapters"].update(groups={"backbone.clip.vision_model.encoder.layers": 4})
train_cfg.update(
    stages=[
        dict(name="warm-up", epochs=60, lr=2.5e-4, batch_size=80, model=dict(adapt=0)),
        dict(name="hilora-1", epochs=15, lr=1e-4, batch_size=60, start="best", model=dict(adapt=1)),
        dict(name="hilora-2", epochs=15, lr=7.5e-5, batch_size=60, start="best", model=dict(adapt=2)),
        dict(name="hilora-3", epochs=15, lr=5e-5, batch_size=60, start="best", model=dict(adapt=3)),
        dict(name="hilora-4", epochs=15, lr=2.5e-5, batch_size=40, start="best", model=dict(adapt=4)),
    ]
)
