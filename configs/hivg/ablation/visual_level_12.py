"""HiVG-B on RefCOCOg (umd) from visual level 12, without bridge, HiLoRA and RTCC.

Table 11, row 1. Published Acc@0.5: val 68.69, test 67.43.
Everything else as in `no_macb_no_hilora`.

    refkit train configs/hivg/ablation/visual_level_12.py
"""

from mmengine.config import read_base

with read_base():
    from .no_macb_no_hilora import *

model["backbone"].update(visual_levels=[12])
model["heads"].pop("region_text")
