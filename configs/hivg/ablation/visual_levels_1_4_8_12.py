"""HiVG-B on RefCOCOg (umd) from visual levels 1, 4, 8, 12, without bridge, HiLoRA and RTCC.

Table 11, row 4. Published Acc@0.5: val 72.37, test 72.15.
Everything else as in `no_macb_no_hilora`.

    refkit train configs/hivg/ablation/visual_levels_1_4_8_12.py
"""

from mmengine.config import read_base

with read_base():
    from .no_macb_no_hilora import *

model["backbone"].update(visual_levels=[1, 4, 8, 12])
model["heads"].pop("region_text")
