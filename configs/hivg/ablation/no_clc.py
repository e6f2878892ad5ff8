"""HiVG-B on RefCOCOg (umd) without the image-text contrast (CLC).

Table 9: no published value.
The paper calls training without this loss unstable.
Everything else as in `hivg_base_refcocog`, which follows the released recipe.

    refkit train configs/hivg/ablation/no_clc.py
"""

from mmengine.config import read_base

with read_base():
    from ..hivg_base_refcocog import *

model["heads"].pop("contrast")
