"""HiVG-B on RefCOCOg (umd), adaptive weights of shape 77 x 1.

Table 4, rows 3 to 5: no published value.
The table compares four shapes; which of its values belongs to which smaller shape cannot be read from the
printed text, so there is no published value for this one. Here: 77 x 1, one weight per text position. The
published shape, 77 x 512 (row 6), is `hivg_base_refcocog`.
Everything else as in `hivg_base_refcocog`, which follows the released recipe.

    refkit train configs/hivg/ablation/weights_token.py
"""

from mmengine.config import read_base

with read_base():
    from ..hivg_base_refcocog import *

model["backbone"]["bridge"].update(weight_shape="token")
