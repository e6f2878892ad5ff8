"""HiVG-B on RefCOCOg (umd), bridge reads text levels 6 and 12.

Table 10, row 3. Published Acc@0.5: val 77.08, test 77.82.
Everything else as in `hivg_base_refcocog`, which follows the released recipe.

    refkit train configs/hivg/ablation/text_levels_6_12.py
"""

from mmengine.config import read_base

with read_base():
    from ..hivg_base_refcocog import *

model["backbone"]["bridge"].update(text_levels=[6, 12])
