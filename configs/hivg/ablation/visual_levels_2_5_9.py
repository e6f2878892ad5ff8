"""HiVG-B on RefCOCOg (umd) from visual levels 2, 5, 9, without bridge, HiLoRA and RTCC.

Table 11, row 2. Published Acc@0.5: val 71.02, test 71.98.
Everything else as in `no_macb_no_hilora`.

    refkit train configs/hivg/ablation/visual_levels_2_5_9.py
"""

from mmengine.config import read_base

with read_base():
    from .no_macb_no_hilora import *

model["backbone"].update(visual_levels=[2, 5, 9])
model["heads"].pop("region_text")
