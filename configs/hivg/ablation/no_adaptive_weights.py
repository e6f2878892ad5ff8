"""HiVG-B on RefCOCOg (umd), bridge without sample-agnostic (adaptive) weights.

Table 4, row 1. Published Acc@0.5: val 75.43, test 74.87.
The twelve text levels enter the gate as they are.
Everything else as in `hivg_base_refcocog`, which follows the released recipe.

    refkit train configs/hivg/ablation/no_adaptive_weights.py
"""

from mmengine.config import read_base

with read_base():
    from ..hivg_base_refcocog import *

model["backbone"]["bridge"].update(weight_shape=None)
