"""HiVG-B on RefCOCOg (umd), bridge without cross-attention.

Table 4, row 2. Published Acc@0.5: val 74.29, test 74.18.
The paper does not say what takes its place; here the mean over the text positions does. What is left of the
bridge has no layers that LoRA adapts.
Everything else as in `hivg_base_refcocog`, which follows the released recipe.

    refkit train configs/hivg/ablation/no_cross_attention.py
"""

from mmengine.config import read_base

with read_base():
    from ..hivg_base_refcocog import *

model["backbone"]["bridge"].update(cross_attention=False)
model["adapters"].update(always=[])
