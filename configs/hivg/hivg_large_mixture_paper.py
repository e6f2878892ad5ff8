"""HiVG-L on the mixture of five training sets, as the paper describes the model.

Table 1, row 21 (HiVG-L, CLIP-L, data-set-mixed), whose values come from the released code and the union of
all training pictures (see `hivg_large_mixture`): no published value for this recipe.

Differs from `hivg_large_mixture`: the model and stages of `hivg_large_refcoco_paper`, with adaptive weights
over text levels 1 to 12. Evaluation pictures are left out here too.

    refkit train configs/hivg/hivg_large_mixture_paper.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.hivg_mixture import *
    from .._base_.hivg_large_paper import *
