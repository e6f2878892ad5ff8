"""HiVG-B on RefCOCOg (umd), bridge reads text levels 1, 4, 8 and 12.

Table 10, row 4. Published Acc@0.5: val 77.65, test 78.45.
All twelve levels (row 5) are `hivg_base_refcocog`. Row 1, weights that depend on the sample, is not
described closely enough to build.
Everything else as in `hivg_base_refcocog`, which follows the released recipe.

    refkit train configs/hivg/ablation/text_levels_1_4_8_12.py
"""

from mmengine.config import read_base

with read_base():
    from ..hivg_base_refcocog import *

model["backbone"]["bridge"].update(text_levels=[1, 4, 8, 12])
