"""HiVG-B on RefCOCOg (umd) without bridge and without HiLoRA.

Table 3, row 1. Published Acc@0.5: val 73.48, test 73.01.
CLIP stays as it was; perceiver, encoder and heads are trained through all stages of the full model, so that
all rows see equally many pictures. The paper does not state the epochs of this row.
Everything else as in `macb_only`.

    refkit train configs/hivg/ablation/no_macb_no_hilora.py
"""

from mmengine.config import read_base

with read_base():
    from .macb_only import *

model["backbone"].update(bridge=None)
model["data_preprocessor"].update(trim_text=True)
