"""HiVG-B on RefCOCOg (umd), HiLoRA in two stages.

Table 5, row 4. Published Acc@0.5: test 77.97.
Blocks 1-6, then 1-12, 30 epochs each: the paper states neither groups nor epochs of this row.
Everything else as in `hivg_base_refcocog`, which follows the released recipe.

    refkit train configs/hivg/ablation/hilora_two_stages.py
"""

from mmengine.config import read_base

with read_base():
    from ..hivg_base_refcocog import *

model["adapters"].update(groups={"backbone.clip.vision_model.encoder.layers": 2})
train_cfg.update(
    stages=[
        dict(name="warm-up", epochs=60, lr=2.5e-4, batch_size=80, model=dict(adapt=0)),
        dict(name="hilora-1", epochs=30, lr=1e-4, batch_size=60, start="best", model=dict(adapt=1)),
        dict(name="hilora-2", epochs=30, lr=5e-5, batch_size=60, start="best", model=dict(adapt=2)),
    ]
)
