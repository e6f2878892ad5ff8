"""HiVG-B on RefCOCOg (umd) without both constraints, RTCC and CLC.

Table 9: no published value.
The paper calls training without these losses unstable.
Everything else as in `hivg_base_refcocog`, which follows the released recipe.

    refkit train configs/hivg/ablation/no_rtcc_no_clc.py
"""

from mmengine.config import read_base

with read_base():
    from ..hivg_base_refcocog import *

model["heads"].pop("region_text")
model["heads"].pop("contrast")
