"""HiVG-B on RefCOCOg (umd), HiLoRA of rank 64.

Table 5, row 7. Published Acc@0.5: test 76.90.
Alpha stays 16, so that the update is scaled by 0.25.
Everything else as in `hivg_base_refcocog`, which follows the released recipe.

    refkit train configs/hivg/ablation/hilora_rank_64.py
"""

from mmengine.config import read_base

with read_base():
    from ..hivg_base_refcocog import *

model["adapters"].update(rank=64)
