"""HiVG-B on the mixture of five training sets, as the paper describes the model.

Table 1, row 20 (HiVG, CLIP-B, data-set-mixed), whose values come from the released code and the union of
all training pictures (see `hivg_base_mixture`): no published value for this recipe.

Differs from `hivg_base_mixture`: the model and stages of `hivg_base_refcoco_paper`, with adaptive weights
over text levels 1 to 12. Evaluation pictures are left out here too.

    refkit train configs/hivg/hivg_base_mixture_paper.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.hivg_mixture import *
    from .._base_.hivg_base_paper import *
