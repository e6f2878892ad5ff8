"""HiVG-B on RefCOCOg (umd), HiLoRA from deep to shallow blocks.

Table 5, row 8. Published Acc@0.5: test 73.93.
The groups of the full model counted from the other end: blocks 8-12, 5-12, 1-12.
Everything else as in `hivg_base_refcocog`, which follows the released recipe.

    refkit train configs/hivg/ablation/hilora_deep_to_shallow.py
"""

from mmengine.config import read_base

with read_base():
    from ..hivg_base_refcocog import *

model["adapters"].update(
    groups={
        "backbone.clip.vision_model.encoder.layers": [
            [7, 8, 9, 10, 11],
            [4, 5, 6, 7, 8, 9, 10, 11],
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
        ]
    }
)
