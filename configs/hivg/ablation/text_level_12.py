"""HiVG-B on RefCOCOg (umd), bridge reads the last text level.

Table 10, row 2. Published Acc@0.5: val 76.84, test 77.02.
Table 4, row 8 prints 77.07 and 76.82 under the same label.
Everything else as in `hivg_base_refcocog`, which follows the released recipe.

    refkit train configs/hivg/ablation/text_level_12.py
"""

from mmengine.config import read_base

with read_base():
    from ..hivg_base_refcocog import *

model["backbone"]["bridge"].update(text_levels=[12])
