"""HiVG-B on RefCOCOg (umd) from visual levels 6 to 12, without bridge, HiLoRA and RTCC.

Table 11, row 6. Published Acc@0.5: val 71.49, test 71.75.
Everything else as in `no_macb_no_hilora`.

    refkit train configs/hivg/ablation/visual_levels_6_to_12.py
"""

from mmengine.config import read_base

with read_base():
    from .no_macb_no_hilora import *

model["backbone"].update(visual_levels=[6, 7, 8, 9, 10, 11, 12])
model["heads"].pop("region_text")
