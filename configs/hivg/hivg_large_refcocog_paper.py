"""HiVG-L on RefCOCOg (umd), as the paper describes it.

Table 1, row 12 (HiVG-L, CLIP-L), whose values val 80.78, test 80.25 come from the released code: no
published value for this recipe.

Differs from `hivg_large_refcocog`: smooth L1, no mask loss, bridges in blocks 6, 12, 18, 24 that read text
levels 1 to 12; fresh LoRA matrices in each of four stages of 15 epochs, on the first one, two, three and
all four quarters of the blocks, merged into the weights after it, on q, k, v and fully connected layers,
none in the bridges; 50 epochs before HiLoRA, with the bridge. Pictures as in the released code: the paper
says nothing else about them. Batch per GPU 60 (the paper's text; its table has 80), on 8 GPUs.

    refkit train configs/hivg/hivg_large_refcocog_paper.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.hivg_refcocog import *
    from .._base_.hivg_large_paper import *
