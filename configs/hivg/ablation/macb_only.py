"""HiVG-B on RefCOCOg (umd) with the bridge, without HiLoRA.

Table 3, row 2. Published Acc@0.5: val 76.53, test 75.77.
Trained through all stages of the full model, without LoRA, in the towers and in the bridge. The paper does
not state the epochs of this row. Which of the rows 2 and 3 is which follows from the gains that the paper's
text states.
Everything else as in `hivg_base_refcocog`, which follows the released recipe.

    refkit train configs/hivg/ablation/macb_only.py
"""

from mmengine.config import read_base

with read_base():
    from ..hivg_base_refcocog import *

model.pop("adapters")
model.update(freeze=["backbone.clip"])
train_cfg.update(
    stages=[
        dict(name="stage-0", epochs=60, lr=2.5e-4, batch_size=80),
        dict(name="stage-1", epochs=20, lr=1e-4, batch_size=60, start="best"),
        dict(name="stage-2", epochs=20, lr=5e-5, batch_size=60, start="best"),
        dict(name="stage-3", epochs=20, lr=2.5e-5, batch_size=40, start="best"),
    ]
)
