"""HiVG-B on RefCOCOg (umd) from visual levels 1 to 12, without bridge, HiLoRA and RTCC.

Table 11, row 7. Published Acc@0.5: val 71.25, test 71.15.
Everything else as in `no_macb_no_hilora`.

    refkit train configs/hivg/ablation/visual_levels_1_to_12.py
"""

from mmengine.config import read_base

with read_base():
    from .no_macb_no_hilora import *

model["backbone"].update(visual_levels=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
model["heads"].pop("region_text")
