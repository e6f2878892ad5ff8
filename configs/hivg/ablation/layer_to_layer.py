"""HiVG-B on RefCOCOg (umd), every bridge reads one text level of its own.

Table 4, row 7. Published Acc@0.5: val 76.51, test 76.30.
Bridges in blocks 1, 4, 8, 12 read text levels 1, 4, 8, 12. The paper does not list its pairs of levels.
Everything else as in `hivg_base_refcocog`, which follows the released recipe.

    refkit train configs/hivg/ablation/layer_to_layer.py
"""

from mmengine.config import read_base

with read_base():
    from ..hivg_base_refcocog import *

model["backbone"]["bridge"].update(layer_to_layer=True, text_levels=[1, 4, 8, 12])
