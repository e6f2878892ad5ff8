"""HiVG-B on RefCOCO, as the paper describes it.

Table 1, row 11 (HiVG, CLIP-B), whose values val 87.32, testA 89.86, testB 83.27 come from the released
code: no published value for this recipe.

Differs from `hivg_base_refcoco`: smooth L1, no mask loss, bridges in blocks 4, 8, 12 that read text levels
1 to 12; fresh LoRA matrices in each of three stages, on the first, first two and all thirds of the blocks,
merged into the weights after it, on q, k, v and fully connected layers, none in the bridges; 50 epochs
before HiLoRA. Pictures as in the released code: the paper says nothing else about them. Batch per GPU 60
(the paper's text; its table has 80), on 8 GPUs.

    refkit train configs/hivg/hivg_base_refcoco_paper.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.hivg_refcoco import *
    from .._base_.hivg_base_paper import *
