"""HiVG-B on RefCOCOg (umd) with plain LoRA: all blocks at once.

No published value, and no row of the paper's tables that can be told from the printed text (Table 5 has two
more variants of three stages whose marks are lost). All LoRA matrices are opened in one stage of 60 epochs,
as many as the three stages of HiLoRA together.
Everything else as in `hivg_base_refcocog`, which follows the released recipe.

    refkit train configs/hivg/ablation/hilora_vanilla.py
"""

from mmengine.config import read_base

with read_base():
    from ..hivg_base_refcocog import *

model["adapters"].update(groups={"backbone.clip.vision_model.encoder.layers": 1})
train_cfg.update(
    stages=[
        dict(name="warm-up", epochs=60, lr=2.5e-4, batch_size=80, model=dict(adapt=0)),
        dict(name="hilora-1", epochs=60, lr=1e-4, batch_size=60, start="best", model=dict(adapt=1)),
    ]
)
